// Package content reads what the proxy has to know of a body as it passes: the key in an upload by
// form, the parts of a multipart upload that is completed, the list of a multi-object delete. It
// keeps no more of a body than that needs, and passes on what it reads as it is.
package content
