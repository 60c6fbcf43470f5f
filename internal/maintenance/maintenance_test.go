package maintenance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func mustLoad(t *testing.T, dir string, configured, want uint64) *File {
	t.Helper()
	f, mask, err := Load(dir, []string{"a:1", "b:2", "c:3"}, configured)
	testkit.MustDo(t, err)
	if mask != want {
		t.Errorf("maintained is %03b, want %03b", mask, want)
	}
	return f
}

func TestR14MaintenanceSurvives(t *testing.T) {
	dir := t.TempDir()
	f := mustLoad(t, dir, 0, 0)
	testkit.MustDo(t, f.Set(1, true))
	f = mustLoad(t, dir, 0, 0b010)
	testkit.MustDo(t, f.Set(2, true), f.Set(1, false))
	mustLoad(t, dir, 0, 0b100)

	// Ended at run time, though the configuration has it.
	dir = t.TempDir()
	f = mustLoad(t, dir, 0b001, 0b001)
	testkit.MustDo(t, f.Set(0, false))
	mustLoad(t, dir, 0b001, 0)
	mustLoad(t, dir, 0b000, 0) // changed since: it is the configuration's again
	mustLoad(t, dir, 0b101, 0b100)
}

func TestR14TheConfigurationThatWasChangedLaterGoesFirst(t *testing.T) {
	dir := t.TempDir()
	f := mustLoad(t, dir, 0, 0)
	testkit.MustDo(t, f.Set(1, true))
	mustLoad(t, dir, 0b010, 0b010)
	f = mustLoad(t, dir, 0b010, 0b010)
	testkit.MustDo(t, f.Set(1, false))
	mustLoad(t, dir, 0b010, 0)
}

// A configuration that is reloaded decides about the backends in which it differs (R22), and a restart
// with it finds the same.
func TestR14ReloadedConfiguration(t *testing.T) {
	dir := t.TempDir()
	f := mustLoad(t, dir, 0b001, 0b001)
	testkit.MustDo(t, f.Set(0, false), f.Set(1, true))
	testkit.MustDo(t, f.Configure(0b101)) // which differs in the third
	mustLoad(t, dir, 0b101, 0b110)
	testkit.MustDo(t, f.Configure(0b100)) // and in the first
	mustLoad(t, dir, 0b100, 0b110)
	testkit.MustDo(t, f.Set(2, false))
	mustLoad(t, dir, 0b100, 0b010)
}

// What cannot be read, or would leave no backend, is told, and the configuration's stands.
func TestR14WhatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	testkit.MustDo(t, os.WriteFile(filepath.Join(dir, fileName), []byte("{"), 0o600))
	f, mask, err := Load(dir, []string{"a:1", "b:2"}, 0b01)
	if err == nil || mask != 0b01 {
		t.Errorf("maintained is %b, %v", mask, err)
	}
	testkit.MustDo(t, f.Set(1, true), f.Set(0, true)) // and can be written again
	if _, mask, err := Load(dir, []string{"a:1", "b:2"}, 0b01); err == nil || mask != 0b01 {
		t.Errorf("maintained is %b, %v", mask, err)
	}
}
