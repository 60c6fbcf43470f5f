package text

import (
	"errors"
	"io/fs"
)

// Cause returns err without the path of a *fs.PathError, for an error that is wrapped with the path
// anyway.
func Cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}
