package testkit

import (
	"errors"
	"testing"
)

// MustDo fails the test at the first error.
func MustDo(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
