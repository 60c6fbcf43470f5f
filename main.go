// Command akubra copies every S3 request to all of its backends at once, and gives
// the client the first positive answer. What the backends differ in it records in
// the synclog.
//
// It reads the process's surroundings (signals, processors, its own version) and hands
// them to internal/cli, which does what the command line says.
package main

import (
	_ "embed"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/akubra/akubra/internal/cli"
	"github.com/akubra/akubra/internal/quiet"
)

// version is linked in: -ldflags "-X main.version=v1.2.3".
var version = "dev"

//go:embed config.yaml.example
var example string

//go:embed docs/akubra.1
var manual string

func main() {
	quiet.End()
	// A log's reader that goes away must not take the proxy with it.
	signal.Ignore(syscall.SIGPIPE)
	addProcessor()
	if version == "dev" {
		version = builtVersion()
	}
	os.Exit(cli.Run(os.Args[1:], version, example, manual))
}

// addProcessor has the scheduler use one thread more than the machine, or the
// process's share of it, has processors, unless GOMAXPROCS says how many. While the
// system has set aside a thread for another process's, what it was about to do, as to
// ask for the connections that are ready, stands still: the additional one does it
// where a processor is idle (bench/NOTES.md). A share that changes later is not
// followed.
func addProcessor() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}

// builtVersion is what `go build` and `go install` know: the tag, or the time and
// the revision of the commit.
func builtVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return version
	}
	return info.Main.Version
}
