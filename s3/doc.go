// Package s3 is what S3 says, for whoever has to understand it: what a request's target
// names and asks for, which subresources there are, how keys are spelt in a path, and what
// stands in answers and errors. s3/sigv4 signs.
//
// Everything here is pure, and may be called from any goroutine.
package s3
