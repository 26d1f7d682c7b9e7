//go:build planted

package planted

import "os"

var name = os.Getenv(Env)

// Is reports whether this bug is planted.
func Is(bug string) bool { return bug == name }
