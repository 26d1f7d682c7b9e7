package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/starling-swarm/starling/node"
)

// postCollect removes images that nobody needs, or says which it would.
func (s *Server) postCollect(r *http.Request) (any, error) {
	var q collectRequest
	if err := input(r, &q); err != nil {
		return nil, err
	}
	return s.n.Collect(r.Context(), q.DryRun)
}

type collectRequest struct {
	DryRun bool `json:"dry_run"`
}

// getBundle streams a release as a .star file, with ?packs=true with the packs that lead
// to it: not unless asked, for a client from before cannot read such a file. If it
// breaks off, fewer bytes come than were promised, and the connection ends.
func (s *Server) getBundle(w http.ResponseWriter, r *http.Request) {
	e, err := s.n.Export(r.Context(), r.PathValue("component"), r.PathValue("version"), r.URL.Query().Get("packs") == "true")
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(e.Bytes(), 10))
	if err := e.Write(r.Context(), w); err != nil {
		s.log.Warn("export broken off", "release", e.Release().Describe(), "err", err)
	}
	if err := e.Close(); err != nil {
		s.log.Warn("exported images not closed", "err", err)
	}
}

// Stored are the images that the node keeps beside its slots.
func (c *Client) Stored(ctx context.Context) (*node.StoreView, error) {
	return get[node.StoreView](ctx, c, "/v1/store")
}

// VerifyStore reads every byte of every image that the node has.
func (c *Client) VerifyStore(ctx context.Context) (*node.StoreCheck, error) {
	return post[node.StoreCheck](ctx, c, "/v1/store/verify", struct{}{})
}

// Collect removes the images that nobody needs, or with dryRun says which.
func (c *Client) Collect(ctx context.Context, dryRun bool) (*node.Collected, error) {
	return post[node.Collected](ctx, c, "/v1/store/gc", collectRequest{dryRun})
}

// RemoveRelease removes the images of a release from beside the slots.
func (c *Client) RemoveRelease(ctx context.Context, component, version string) (*node.Collected, error) {
	return post[node.Collected](ctx, c, "/v1/releases/"+url.PathEscape(component)+"/"+url.PathEscape(version)+"/rm", struct{}{})
}

// Export writes a release as a .star file to w; with packs, those that lead to it and are
// there go along. progress, which may be nil, is told how many bytes of how many have
// come. What came is not verified; bundle.Open does that.
func (c *Client) Export(ctx context.Context, component, version string, packs bool, w io.Writer, progress func(done, total int64)) error {
	resp, err := c.open(ctx, http.MethodGet, "/v1/releases/"+url.PathEscape(component)+"/"+url.PathEscape(version)+"/bundle?packs="+strconv.FormatBool(packs), "", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	from := &counted{r: resp.Body, total: resp.ContentLength, tell: progress}
	_, err = io.Copy(w, from)
	if err != nil && from.broken == nil { // it was w that failed
		return ProblemOf(fmt.Errorf("write %s %s: %w", component, version, err))
	}
	if err == nil && from.done != from.total {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return c.lost(ctx, err)
	}
	return nil
}

// counted is a reader that tells how far it is.
type counted struct {
	r           io.Reader
	done, total int64
	tell        func(done, total int64)
	broken      error // of r, but for its end
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.done += int64(n); c.tell != nil {
		c.tell(c.done, c.total)
	}
	if err != nil && err != io.EOF {
		c.broken = err
	}
	return n, err
}
