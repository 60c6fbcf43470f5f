// Package model holds repair and the journal to a small model of what clients were told
// (R20, R35). It has only tests.
//
// A history is a list of steps, one a line: what clients do, what befalls storages and the
// proxy. It is run under testing/synctest: storages are in memory (internal/testkit/s3mem),
// the journal, the table of writes under way and repair are the real ones, and the engine,
// which needs sockets, is modelled by the few lines that its promises come to
// (proxy_test.go, fence_test.go). Hours cost milliseconds.
//
// truth_test.go is the specification: what was acknowledged of each key, aspect by aspect,
// and what has to be at rest. history_test.go has the steps, world_test.go runs them,
// random_test.go makes them up and makes the failing ones short; model_test.go has the
// tests, and the histories that once failed.
package model
