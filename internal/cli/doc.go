// Package cli is the command line: what akubra can be told, and what comes of it.
//
// Run parses the arguments, loads and checks the configuration, and does what one command
// says; it returns how the process ends (exit…). All commands are declared in commands.go and
// done in the file of their name. `serve` and `demo` construct a service.Proxy and wait for
// signals; the others work on the journal, by themselves or, where a proxy runs, through it
// (work.go).
//
// Run is called once, and owns the process's standard streams and signals while it runs. A
// command's screen (progress) may be written to from any goroutine.
package cli
