// Package demo is what `akubra demo` runs: two S3 backends in this process that keep their objects
// as files, the configuration of a proxy in front of them, and the screen.
//
// Whoever starts backends must stop them; only one goroutine may call a Backend's methods. Any
// goroutine may print to a Screen.
package demo
