package s3

import (
	"bytes"
	"encoding/xml"
	"html"
	"strings"
)

// Unquote is an ETag without its quotes.
func Unquote[T string | []byte](etag T) T {
	for len(etag) > 0 && etag[0] == '"' {
		etag = etag[1:]
	}
	for len(etag) > 0 && etag[len(etag)-1] == '"' {
		etag = etag[:len(etag)-1]
	}
	return etag
}

// Text returns the raw text of the first element with this name, or nil. It needs no whole
// document, unlike encoding/xml.
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

// UnescapeText is what a raw text says.
func UnescapeText(text []byte) string { return html.UnescapeString(string(text)) }

// ErrorDocument is the body of an answer that is an error (S3 API reference, "Error
// responses").
func ErrorDocument(code, message, resource, requestID string) string {
	var b strings.Builder
	b.WriteString(xml.Header + "<Error><Code>" + code + "</Code><Message>")
	_ = xml.EscapeText(&b, []byte(message))
	b.WriteString("</Message><Resource>")
	_ = xml.EscapeText(&b, []byte(resource))
	b.WriteString("</Resource><RequestId>" + requestID + "</RequestId></Error>")
	return b.String()
}

// ParseError finds code and message in an error's document; they are empty where body is
// none, or has none.
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

// WithoutDeclaration takes white space and the XML declaration off the beginning of a
// document.
func WithoutDeclaration(doc []byte) []byte {
	doc = bytes.TrimLeft(doc, " \t\r\n")
	if bytes.HasPrefix(doc, []byte("<?xml")) {
		if i := bytes.Index(doc, []byte("?>")); i >= 0 {
			doc = bytes.TrimLeft(doc[i+2:], " \t\r\n")
		}
	}
	return doc
}

// ErrorCode returns the code of an error's document that may be cut off, "" if body is
// none, and "Error" where it has none.
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
