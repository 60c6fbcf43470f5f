// Package demo is what `akubra demo` shows: two S3 stores in this process, which keep their
// objects as files, the configuration of a proxy in front of them, and the screen.
//
// Whoever starts stores stops them; one goroutine alone may call a Store's methods. A Screen
// takes lines from any goroutine.
package demo
