// Package cli is the command line: the commands and their exit codes.
//
// Run parses the arguments, loads and checks the configuration, and executes one command; it
// returns the exit code (exit…). All commands are declared in commands.go and implemented in the
// file of their name. `serve` and `demo` construct a service.Proxy and wait for signals. The others
// work on the journal, directly or, while a proxy runs, through it (work.go).
//
// Run is called once, and owns the process's standard streams and signals while it runs. Any
// goroutine may write to a command's screen (progress).
package cli
