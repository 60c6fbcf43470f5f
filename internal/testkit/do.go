package testkit

import (
	"errors"
	"testing"
)

// MustDo does what has to succeed.
func MustDo(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
