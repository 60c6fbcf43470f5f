package cli

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// outputError is an error of stdout.
type outputError struct{ error }

// errGone means that nobody reads the output any more, as in `akubra journal list | head`. That is
// no failure, and nothing is said about it.
var errGone = outputError{errors.New("nobody reads the output")}

// output is stdout. It remembers its first error, since a command that could not write all that it
// had to say has failed, wherever it said it.
type output struct {
	io.Writer

	mu  sync.Mutex
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, syscall.EPIPE):
		err = errGone
	default:
		err = outputError{err}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// failure is the first error, or nil.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// run executes the command in args and returns the process's exit code. Output that got lost, as on
// a full disk, is told.
func (c *cli) run(args []string) int {
	out := &output{Writer: c.stdout}
	c.stdout = out
	exit := c.execute(args)
	if err := out.failure(); err != nil && err != error(errGone) {
		fmt.Fprintf(c.stderr, "akubra: cannot write the output: %v\n", err)
		exit = max(exit, exitFailed)
	}
	return exit
}
