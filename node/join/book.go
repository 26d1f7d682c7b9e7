package join

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/starling-swarm/starling/artifacts/durable"
	"github.com/starling-swarm/starling/artifacts/envelope"
)

// A Book is the operator's invites and who used them: one file each, in a
// directory. It is not safe for concurrent use.
type Book struct {
	dir string
}

// An Entry is one invite with its uses so far.
type Entry struct {
	Invite Invite         `json:"invite"`
	Used   []envelope.Key `json:"used"`
}

// OpenBook uses dir, which is made if it is not there.
func OpenBook(dir string) (*Book, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the book of invites: %w", err)
	}
	return &Book{dir: dir}, nil
}

func (b *Book) file(id string) string { return filepath.Join(b.dir, id+".json") }

// Add writes a new invite down. Only then may it be handed out.
func (b *Book) Add(i *Invite) error { return b.save(&Entry{Invite: *i}) }

// Entries lists all invites, in the order of their ids.
func (b *Book) Entries() ([]Entry, error) {
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, fmt.Errorf("read the book of invites: %w", err)
	}
	var out []Entry
	for _, f := range files {
		if id, ok := strings.CutSuffix(f.Name(), ".json"); ok {
			e, err := b.load(id)
			if err != nil {
				return nil, err
			}
			out = append(out, *e)
		}
	}
	return out, nil
}

// Use checks a request of the robot with this key and writes the use down before
// it returns the invite. A robot that asks again, because it did not hear the
// answer, is not counted twice.
func (b *Book) Use(r *Request, robot envelope.Key, now time.Time) (*Invite, Refusal, error) {
	if strings.ContainsAny(r.Invite, "/\\.") {
		return nil, Unknown, nil
	}
	e, err := b.load(r.Invite)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Unknown, nil
	}
	if err != nil {
		return nil, Unknown, err
	}
	if !e.Invite.Proves(r, robot) {
		return nil, Unknown, nil
	}
	for _, k := range e.Used {
		if k == robot {
			return &e.Invite, None, nil
		}
	}
	if now.After(e.Invite.Expires) {
		return nil, ExpiredAt, nil
	}
	if len(e.Used) >= e.Invite.Uses {
		return nil, UsedUp, nil
	}
	e.Used = append(e.Used, robot)
	if err := b.save(e); err != nil {
		return nil, Unknown, err
	}
	return &e.Invite, None, nil
}

func (b *Book) load(id string) (*Entry, error) {
	data, err := os.ReadFile(b.file(id))
	if err != nil {
		return nil, fmt.Errorf("read invite %s: %w", id, err)
	}
	var e Entry
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("read invite %s: %w", id, err)
	}
	return &e, e.Invite.check()
}

func (b *Book) save(e *Entry) error {
	data, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return fmt.Errorf("write invite %s: %w", e.Invite.ID, err)
	}
	return durable.WriteFile(b.file(e.Invite.ID), data, 0o600)
}
