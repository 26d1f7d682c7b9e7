package gossip

import (
	"bytes"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// KeyBytes is the length of a gossip key (AES-256).
const KeyBytes = 32

// MaxKeys bounds the gossip keys in use at once; a packet from a stranger is
// tried with each.
const MaxKeys = 4

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return fmt.Errorf("%w: %d gossip keys, 1 to %d are needed", ErrConfig, len(keys), MaxKeys)
	}
	for i, k := range keys {
		if len(k) != KeyBytes {
			return fmt.Errorf("%w: gossip key %d has %d bytes, not %d", ErrConfig, i, len(k), KeyBytes)
		}
	}
	return nil
}

// A keyLock lets one SetKeys at a time touch the keyring. It is a channel of
// depth 1 that holds its one token while nobody does.
type keyLock chan struct{}

func newKeyLock() keyLock {
	l := make(keyLock, 1)
	l <- struct{}{}
	return l
}

// SetKeys changes the gossip keys, newest first: from now on the first encrypts
// and all decrypt. Members that lack the first no longer understand this node,
// until they got it by other means; so give it out, then move it to the front,
// then drop the old one. Errors wrap ErrConfig and change nothing.
func (m *Membership) SetKeys(keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	<-m.keys
	defer func() { m.keys <- struct{}{} }()
	return replaceKeys(m.keyring, keys)
}

// replaceKeys makes ring hold keys in this order. memberlist reads the ring's
// slice without its lock, and RemoveKey moves keys inside that slice, unless it
// removes the last; so the wanted keys are brought to the front, each time in a
// new slice, and the others are cut off the end.
func replaceKeys(ring *memberlist.Keyring, keys [][]byte) error {
	for _, k := range keys {
		if err := ring.AddKey(bytes.Clone(k)); err != nil {
			return fmt.Errorf("%w: %v", ErrConfig, err)
		}
	}
	for i := len(keys) - 1; i >= 0; i-- {
		if err := ring.UseKey(keys[i]); err != nil {
			return fmt.Errorf("%w: %v", ErrConfig, err)
		}
	}
	for {
		have := ring.GetKeys()
		last := have[len(have)-1]
		wanted := false
		for _, k := range keys {
			wanted = wanted || bytes.Equal(k, last)
		}
		if wanted {
			return nil
		}
		if err := ring.RemoveKey(last); err != nil {
			return fmt.Errorf("%w: %v", ErrConfig, err)
		}
	}
}
