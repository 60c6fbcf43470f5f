package s3

import (
	"bytes"
	"encoding/xml"
	"html"
	"strings"
)

// Unquote returns an ETag without its quotes.
func Unquote[T string | []byte](etag T) T {
	for len(etag) > 0 && etag[0] == '"' {
		etag = etag[1:]
	}
	for len(etag) > 0 && etag[len(etag)-1] == '"' {
		etag = etag[:len(etag)-1]
	}
	return etag
}

// Text returns the raw text of the first element with this name, or nil. Unlike encoding/xml it
// does not need a complete document.
func Text(doc []byte, name string) []byte {
	_, rest, ok := bytes.Cut(doc, []byte("<"+name+">"))
	if !ok {
		return nil
	}
	text, _, ok := bytes.Cut(rest, []byte("</"+name+">"))
	if !ok {
		return nil
	}
	return bytes.TrimSpace(text)
}

// UnescapeText decodes the entities of a raw text.
func UnescapeText(text []byte) string { return html.UnescapeString(string(text)) }

// ErrorDocument is the body of an error response (S3 API reference, "Error responses").
func ErrorDocument(code, message, resource, requestID string) string {
	var b strings.Builder
	b.WriteString(xml.Header + "<Error><Code>" + code + "</Code><Message>")
	_ = xml.EscapeText(&b, []byte(message))
	b.WriteString("</Message><Resource>")
	_ = xml.EscapeText(&b, []byte(resource))
	b.WriteString("</Resource><RequestId>" + requestID + "</RequestId></Error>")
	return b.String()
}

// ParseError returns the code and message of an error document; they are empty if body is not one
// or lacks them.
func ParseError(body []byte) (code, message string) {
	var doc struct {
		XMLName       xml.Name
		Code, Message string
	}
	if xml.Unmarshal(body, &doc) == nil && doc.XMLName.Local == "Error" {
		return doc.Code, doc.Message
	}
	return "", ""
}

// WithoutDeclaration removes white space and the XML declaration from the beginning of a document.
func WithoutDeclaration(doc []byte) []byte {
	doc = bytes.TrimLeft(doc, " \t\r\n")
	if bytes.HasPrefix(doc, []byte("<?xml")) {
		if i := bytes.Index(doc, []byte("?>")); i >= 0 {
			doc = bytes.TrimLeft(doc[i+2:], " \t\r\n")
		}
	}
	return doc
}

// ErrorCode returns the code of an error document that may be truncated: "" if body is not one,
// "Error" if it has no code.
func ErrorCode(body []byte) string {
	body = WithoutDeclaration(body)
	if !bytes.HasPrefix(body, []byte("<Error")) || len(body) < 7 || bytes.IndexByte([]byte("> \t\r\n/"), body[6]) < 0 {
		return ""
	}
	_, rest, _ := bytes.Cut(body, []byte("<Code>"))
	code, _, _ := bytes.Cut(rest, []byte("</Code>"))
	if len(code) == 0 || len(code) > 128 {
		return "Error"
	}
	return string(code)
}

// NoSuchUpload is the code of an error that says that an upload is unknown.
const NoSuchUpload = "NoSuchUpload"

// IsUnknownUpload reports whether an answer says, or may say, that the upload is unknown. Without a document, in
// an answer to HEAD for example, code is "".
func IsUnknownUpload(status int, code string) bool {
	return code == NoSuchUpload || code == "NoSuchBucket" || status == 404 && code == ""
}

// IsUnknownVersion reports whether an answer says, or may say, that the version is unknown. An id that does not look
// like one of theirs is an invalid argument for MinIO and versitygw.
func IsUnknownVersion(status int, code string) bool {
	return status == 404 || code == "NoSuchVersion" || status == 400 && (code == "" || code == "InvalidArgument")
}

// IsLock reports whether an error is, or may be, that of a locked version. AWS says only that
// access is denied, as versitygw does in more words; MinIO says that the request is not valid,
// because the object is WORM protected.
func IsLock(code string, message []byte) bool {
	if code == "AccessDenied" {
		return true
	}
	message = bytes.ToLower(message)
	return bytes.Contains(message, []byte("worm")) || bytes.Contains(message, []byte("object lock"))
}
