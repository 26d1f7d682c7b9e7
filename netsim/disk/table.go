//go:build linux && (amd64 || arm64)

package disk

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"
)

// An inode names a file, whatever it is called now.
type inode struct{ dev, ino uint64 }

func idOf(st *unix.Stat_t) inode { return inode{uint64(st.Dev), st.Ino} }

func (i inode) compare(j inode) int {
	return cmp.Or(cmp.Compare(i.dev, j.dev), cmp.Compare(i.ino, j.ino))
}

// A table finds things by inode. It is sorted, and no map: the numbers of inodes differ
// from run to run, and when a map grows depends on its keys. What a table allocates
// depends on how many things it holds.
type table[T any] []entry[T]

type entry[T any] struct {
	id inode
	v  T
}

func (t table[T]) find(id inode) (int, bool) {
	return slices.BinarySearchFunc(t, id, func(e entry[T], id inode) int { return e.id.compare(id) })
}

// at is the thing of an inode; zero if there is none.
func (t table[T]) at(id inode) (v T) {
	if i, ok := t.find(id); ok {
		v = t[i].v
	}
	return v
}

// put adds a thing whose inode has none yet.
func (t *table[T]) put(id inode, v T) {
	i, _ := t.find(id)
	*t = slices.Insert(*t, i, entry[T]{id, v})
}

func (t *table[T]) remove(id inode) {
	if i, ok := t.find(id); ok {
		*t = slices.Delete(*t, i, i+1)
	}
}
