package synclog

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is one difference between two backends (R16). Its fields are those of engine.Divergence,
// so that one can be converted to the other.
type Record struct {
	Time        time.Time `json:"ts"`
	Method      string    `json:"method"`
	Path        string    `json:"path"` // the raw request target
	FailedHost  string    `json:"failedhost"`
	SuccessHost string    `json:"successhost"`
	UserAgent   string    `json:"useragent"`
	Error       string    `json:"error"`
	Op          string    `json:"op"`
	Status      int       `json:"status"` // of the failed backend; 0 if it sent none
	Bucket      string    `json:"bucket"`
	Key         string    `json:"key"`
	ETag        string    `json:"etag"`
	Size        int64     `json:"size"` // bytes of the object (R16)
	ID          string    `json:"id"`
}

// timeLayout is RFC 3339 with all nine digits, so that lines sort by time as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// AppendJSON appends the record as one JSON object on one line, without a line end. It allocates
// nothing if dst has room.
//
// What a client sends may contain any bytes, but JSON text only valid UTF-8. So in every field
// except path, a byte that is not part of valid UTF-8 becomes U+FFFD followed by two upper-case
// hexadecimal digits, and a U+FFFD in the text itself is doubled: nothing is lost, and ordinary
// text is unchanged. In path such a byte is percent-encoded, which names the same object and can be
// sent as a target. Control characters, including the eight-bit ones, are escaped, because the line
// may end up on a terminal.
func (r *Record) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"ts":"`...)
	dst = r.Time.UTC().AppendFormat(dst, timeLayout)
	dst = append(dst, `","method":`...)
	dst = appendString(dst, r.Method, false)
	dst = append(dst, `,"path":`...)
	dst = appendString(dst, r.Path, true)
	dst = append(dst, `,"failedhost":`...)
	dst = appendString(dst, r.FailedHost, false)
	dst = append(dst, `,"successhost":`...)
	dst = appendString(dst, r.SuccessHost, false)
	dst = append(dst, `,"useragent":`...)
	dst = appendString(dst, r.UserAgent, false)
	dst = append(dst, `,"error":`...)
	dst = appendString(dst, r.Error, false)
	dst = append(dst, `,"op":`...)
	dst = appendString(dst, r.Op, false)
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, `,"bucket":`...)
	dst = appendString(dst, r.Bucket, false)
	dst = append(dst, `,"key":`...)
	dst = appendString(dst, r.Key, false)
	dst = append(dst, `,"etag":`...)
	dst = appendString(dst, r.ETag, false)
	dst = append(dst, `,"size":`...)
	dst = strconv.AppendInt(dst, r.Size, 10)
	dst = append(dst, `,"id":`...)
	dst = appendString(dst, r.ID, false)
	return append(dst, '}')
}

const (
	upperHex = "0123456789ABCDEF"
	lowerHex = "0123456789abcdef"
)

// appendString appends s as a JSON string; percent selects path's encoding for bytes that are not
// UTF-8.
func appendString(dst []byte, s string, percent bool) []byte {
	dst = append(dst, '"')
	done := 0 // s[:done] is in dst
	for i := 0; i < len(s); {
		b := s[i]
		if b >= ' ' && b < 0x7f && b != '"' && b != '\\' {
			i++
			continue
		}
		c, size := rune(b), 1
		if b >= utf8.RuneSelf {
			c, size = utf8.DecodeRuneInString(s[i:])
			if !escaped(c) || (percent && c == utf8.RuneError && size > 1) {
				i += size
				continue
			}
		}
		dst = append(dst, s[done:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', b)
		case c == utf8.RuneError && size > 1:
			dst = append(dst, `\ufffd\ufffd`...)
		case c == utf8.RuneError && percent:
			dst = append(dst, '%', upperHex[b>>4], upperHex[b&15])
		case c == utf8.RuneError:
			dst = append(dst, `\ufffd`...)
			dst = append(dst, upperHex[b>>4], upperHex[b&15])
		default:
			dst = append(dst, '\\', 'u', lowerHex[c>>12&15], lowerHex[c>>8&15], lowerHex[c>>4&15], lowerHex[c&15])
		}
		i += size
		done = i
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

// escaped reports whether a character beyond ASCII must be escaped: what is not text, and what some
// readers take for the end of a line or a terminal command.
func escaped(c rune) bool {
	return c <= 0x9f || c == '\u2028' || c == '\u2029' || c == utf8.RuneError
}

// ParseRecord parses what AppendJSON wrote, with or without the line end. The time is returned in
// UTC and path as in the line; everything else is as it was. Unknown keys are ignored.
func ParseRecord(line []byte) (Record, error) {
	// encoding/json would replace damage by U+FFFD, and a record that names the wrong key is worse
	// than none.
	if !utf8.Valid(line) {
		return Record{}, errors.New("synclog: cannot parse record: not valid UTF-8")
	}
	var in struct {
		Record
		Time *time.Time `json:"ts"` // shadows Record.Time, to detect a missing one
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return Record{}, fmt.Errorf("synclog: cannot parse record: %w", err)
	}
	if in.Time == nil {
		return Record{}, errors.New(`synclog: cannot parse record: it has no "ts"`)
	}
	r := in.Record
	r.Time = in.Time.UTC()
	if year := r.Time.Year(); year < 0 || year > 9999 {
		return Record{}, fmt.Errorf("synclog: cannot parse record: year %d in UTC", year)
	}
	for _, field := range []struct {
		name string
		s    *string
	}{
		{"method", &r.Method}, {"failedhost", &r.FailedHost}, {"successhost", &r.SuccessHost},
		{"useragent", &r.UserAgent}, {"error", &r.Error}, {"op", &r.Op}, {"bucket", &r.Bucket},
		{"key", &r.Key}, {"etag", &r.ETag}, {"id", &r.ID},
	} {
		var ok bool
		if *field.s, ok = unescape(*field.s); !ok {
			return Record{}, fmt.Errorf("synclog: cannot parse record: %q has a U+FFFD that stands for nothing", field.name)
		}
	}
	return r, nil
}

// unescape undoes what appendString did to U+FFFD and to bytes that are not UTF-8.
func unescape(s string) (string, bool) {
	const mark = string(utf8.RuneError)
	head, rest, found := strings.Cut(s, mark)
	if !found {
		return s, true
	}
	var b strings.Builder
	for found {
		b.WriteString(head)
		if after, doubled := strings.CutPrefix(rest, mark); doubled {
			b.WriteString(mark)
			rest = after
		} else {
			if len(rest) < 2 {
				return "", false
			}
			hi, lo := strings.IndexByte(upperHex, rest[0]), strings.IndexByte(upperHex, rest[1])
			if hi < 8 || lo < 0 { // ASCII is never escaped this way
				return "", false
			}
			b.WriteByte(byte(hi<<4 | lo))
			rest = rest[2:]
		}
		head, rest, found = strings.Cut(rest, mark)
	}
	b.WriteString(head)
	return b.String(), true
}
