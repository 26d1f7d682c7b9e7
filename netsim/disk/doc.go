// Package disk gives simulated machines disks that fill up, that lie, and that forget
// what was not synced when the power fails.
//
//	set, err := disk.New(disk.Config{Dir: "swarm", Forgets: true})
//	err = set.Hook()           // the program must be made by exact.Build
//	d, err := set.Add("cart-1") // all below swarm/cart-1 is on it
//	d.Fill(64 << 10)
//	lost := d.Cut(random, true)
//	d.PowerOn()
//
// Files stay the host's own, on a RAM disk at best; what they hold is what a running
// machine sees. A Set answers the system calls that change them, so package os and
// golang.org/x/sys/unix are covered alike, whatever uses them. Beside the host's files it remembers, for each
// disk, what a power cut can undo:
//
//   - of each file, the pages written since it was last synced, as they were then, and
//     its size then;
//   - of each directory, the names made, removed and renamed since it was last synced.
//
// That is what POSIX promises, and less than most file systems keep: a sync of a new
// file does not save its name, for which its directory must be synced. What is older
// than the kernel's own writing back (WriteBack) is taken as synced.
//
// Left out: what a cut does to modes, times and extended attributes; wrong bytes from
// a lying disk are seen at once, and not when the page cache has let the right ones go. Calls
// that no robot's software here makes are refused on a disk, so that nothing passes
// by unseen: shared writable mappings, truncation by path, vectored and
// kernel-to-kernel writes, preallocation, unnamed temporary files, renaming over a
// directory. Not seen at all: descriptors copied by fcntl, and io_uring.
package disk
