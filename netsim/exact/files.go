package exact

import "unsafe"

// These live in the patched package syscall.
var (
	//go:linkname sysHooked syscall.exactHooked
	sysHooked uint32
	//go:linkname sysTraps syscall.exactTraps
	sysTraps [512]uint8
	//go:linkname sysFiles syscall.exactFiles
	sysFiles FileHook
)

// A FileHook answers a system call on files, or says that it has not; then the kernel
// does. p and q are the arguments that Pointers names. It runs on the caller's
// goroutine, and must itself call the kernel through syscall.RawSyscall6 only.
type FileHook = func(trap, a1, a2, a3, a4, a5, a6 uintptr, p, q unsafe.Pointer) (r, errno uintptr, done bool)

// Pointers says which arguments of a system call are pointers, first to fourth; at most
// two are.
type Pointers [4]bool

// HasFiles reports whether HookFiles works here.
func HasFiles() bool { return sysHooked != 0 }

// HookFiles lets h answer the given system calls of this program from now on. Calls that
// pass the standard library's syscall.Syscall and Syscall6 are seen: those of package os and
// of golang.org/x/sys/unix are.
func HookFiles(h FileHook, calls map[uintptr]Pointers) error {
	if !HasFiles() {
		return ErrPlain
	}
	for trap, ptrs := range calls {
		marks := uint8(1)
		for i, is := range ptrs {
			if is {
				marks |= 2 << i
			}
		}
		sysTraps[trap] = marks
	}
	sysFiles = h
	return nil
}
