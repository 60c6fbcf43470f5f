// Package s3 knows S3's vocabulary: what a request's target names and asks for, which subresources
// exist, how keys are spelled in a path, and the documents in responses and errors. Package
// s3/sigv4 signs.
//
// Everything here is pure and may be called from any goroutine.
package s3
