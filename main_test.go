package main

import "testing"

func TestBuiltVersion(t *testing.T) {
	if builtVersion() == "" {
		t.Error("a build without a version")
	}
}
