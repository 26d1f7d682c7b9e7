package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// maxDocument bounds an index, manifest or config, as registries do.
	maxDocument = 4 << 20
	// maxNested bounds indexes within indexes.
	maxNested = 4
	// tagAnnotation is the tag of an image in a layout's index (image-spec, annotations.md).
	tagAnnotation = "org.opencontainers.image.ref.name"
)

var (
	// ErrPlatforms is returned for an OCI layout that does not hold exactly one image for
	// the platform that is wanted. The text names those it holds.
	ErrPlatforms = errors.New("it holds images for other platforms, or several")
	// ErrTags is returned for an OCI layout that holds several images for the platform, or
	// none with the tag that is wanted. The text names the tags: build PATH:TAG.
	ErrTags = errors.New("name the image by its tag, PATH:TAG")

	errNoLayers = errors.New("it holds no image with layers")
)

// maxListed bounds the images that a layout lists, in all its indexes.
const maxListed = 1000

// A choice is which image of a layout is wanted. Empty fields are the only one there is.
type choice struct {
	open          blobs
	platform, tag string
	listed        []listed // that may be it, each digest once
}

// A listed is one image of a layout.
type listed struct {
	descriptor
	platform string   // "linux/arm64"; "/" is not known
	tags     []string // under which the layout lists it
}

// pick returns the manifest that is wanted, from the layout's index.
func (c *choice) pick(index *io.SectionReader) (*document, error) {
	d, err := readDocument(index)
	if err != nil {
		return nil, err
	}
	tagged := d.Manifests
	if c.tag != "" {
		tagged = slices.DeleteFunc(slices.Clone(tagged), func(m descriptor) bool { return m.Annotations[tagAnnotation] != c.tag })
	}
	if err := c.list(tagged, "", 0); err != nil {
		return nil, err
	}
	if len(tagged) == 0 && len(d.Manifests) > 0 {
		c.tag = ""
		if err := c.list(d.Manifests, "", 0); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("it holds none of that tag, but %s: %w", tags(c.listed), ErrTags)
	}
	m, err := c.choose()
	if err != nil {
		return nil, err
	}
	return c.read(&m.descriptor)
}

// list takes in what an index lists, and what indexes in it list; these are under its tag.
func (c *choice) list(all []descriptor, tag string, depth int) error {
	if depth > maxNested {
		return fmt.Errorf("indexes %d deep are not read here", depth)
	}
	for _, d := range all {
		if d.Platform.OS == "unknown" { // it says where another came from (attestations)
			continue
		}
		own := tag
		if depth == 0 {
			own = d.Annotations[tagAnnotation]
		}
		platform := d.Platform.OS + "/" + d.Platform.Architecture
		if platform == "/" || strings.Contains(d.MediaType, ".index.") || strings.Contains(d.MediaType, ".list.") {
			doc, err := c.read(&d)
			if err != nil {
				return err
			}
			if len(doc.Manifests) > 0 {
				if err := c.list(doc.Manifests, own, depth+1); err != nil {
					return err
				}
				continue
			}
			if platform, err = c.told(doc); err != nil {
				return err
			}
		}
		if err := c.add(listed{descriptor: d, platform: platform}, own); err != nil {
			return err
		}
	}
	return nil
}

// told is the platform in the config of an image: most tools list a single image
// without one.
func (c *choice) told(m *document) (string, error) {
	if m.Config.Digest == "" {
		return "/", nil
	}
	r, err := m.Config.open(c.open)
	if err != nil {
		return "", err
	}
	config, err := readDocument(r)
	if err != nil { // it is no image's: what else a layout holds has configs of its own
		return "/", nil
	}
	return config.OS + "/" + config.Architecture, nil
}

func (c *choice) add(l listed, tag string) error {
	i := slices.IndexFunc(c.listed, func(o listed) bool { return o.Digest == l.Digest })
	if i < 0 {
		i, c.listed = len(c.listed), append(c.listed, l)
	}
	if len(c.listed) > maxListed {
		return fmt.Errorf("it holds more than %d images", maxListed)
	}
	if tag != "" && !slices.Contains(c.listed[i].tags, tag) {
		c.listed[i].tags = append(c.listed[i].tags, tag)
	}
	return nil
}

// choose returns the one image for the platform. Where only one is listed it need not
// say its platform, but if it does it must be the one that is wanted.
func (c *choice) choose() (*listed, error) {
	var fit []listed
	var have []string
	for _, l := range c.listed {
		have = append(have, l.platform)
		if c.platform == "" || l.platform == c.platform || l.platform == "/" && len(c.listed) == 1 {
			fit = append(fit, l)
		}
	}
	slices.Sort(have)
	several := slices.ContainsFunc(fit, func(l listed) bool { return len(l.tags) > 0 && !slices.Equal(l.tags, fit[0].tags) })
	switch {
	case len(c.listed) == 0:
		return nil, errNoLayers
	case len(fit) == 1:
		return &fit[0], nil
	case several:
		return nil, fmt.Errorf("it holds several, %s: %w", tags(fit), ErrTags)
	case c.platform == "":
		return nil, fmt.Errorf("%w (%s); name one with the variant's label platform=", ErrPlatforms, strings.Join(have, ", "))
	}
	return nil, fmt.Errorf("%w (%s), and %d of them are for %s", ErrPlatforms, strings.Join(have, ", "), len(fit), c.platform)
}

// tags lists the tags of images, and what these are for.
func tags(all []listed) string {
	var out []string
	for _, l := range all {
		for _, t := range l.tags {
			out = append(out, fmt.Sprintf("%s (%s)", t, l.platform))
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// read returns an index, manifest or config.
func (c *choice) read(d *descriptor) (*document, error) {
	r, err := d.open(c.open)
	if err != nil {
		return nil, err
	}
	return readDocument(r)
}

func readDocument(r *io.SectionReader) (*document, error) {
	if r.Size() > maxDocument {
		return nil, fmt.Errorf("an index or manifest of %d bytes is not read here", r.Size())
	}
	var d document
	data, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(data)).Decode(&d)
	}
	if err != nil {
		return nil, fmt.Errorf("its index or manifest is not readable: %w", err)
	}
	return &d, nil
}
