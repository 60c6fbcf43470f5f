// Package quiet keeps off stderr what libraries print while they are initialised: the metrics
// library says with each command that it has no pressure metrics on a kernel without them, as
// RHEL's is by default. Go initialises packages in the order of their paths as soon as what they
// import is ready, so this one, which imports next to nothing, comes before every library that logs.
package quiet

import (
	"io"
	"log"
	"os"
)

func init() { log.SetOutput(io.Discard) }

// End lets libraries print again. main calls it first.
func End() { log.SetOutput(os.Stderr) }
