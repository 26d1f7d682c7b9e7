package exact

import (
	_ "embed"
	"slices"
)

//go:embed files.go.txt
var filesCode string

// filePatches let a simulation answer system calls on files. All of Go's own file
// calls, and those of golang.org/x/sys, pass through these two functions. They change
// nothing until HookFiles.
var filePatches = []Patch{
	{
		Name: "files-short", File: "syscall/syscall_linux.go",
		Why:  "files are the host's own: they never fill, lie or forget",
		find: "func Syscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n",
		with: "func Syscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n" +
			"\tif exactSees(trap) {\n\t\treturn exactCall(trap, a1, a2, a3, 0, 0, 0)\n\t}\n",
	},
	{
		Name: "files-long", File: "syscall/syscall_linux.go",
		Why:  "the same, for calls of more arguments",
		find: "func Syscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {\n",
		with: "func Syscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2 uintptr, err Errno) {\n" +
			"\tif exactSees(trap) {\n\t\treturn exactCall(trap, a1, a2, a3, a4, a5, a6)\n\t}\n",
	},
	{
		Name: "files-hook", File: "syscall/syscall_linux.go",
		Why:  "what the edits above call",
		find: "func rawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr)\n",
		with: filesCode + "func rawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr)\n",
	},
}

// patches are all edits.
var patches = slices.Concat(pins, clockPatches, filePatches)
