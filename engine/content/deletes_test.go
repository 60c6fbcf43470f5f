package content

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// What is read is what a reader of the whole document finds, or nothing.
func FuzzParseDeletes(f *testing.F) {
	for _, s := range []string{
		"<?xml version='1.0' encoding='UTF-8'?><Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>", "<Delete><Quiet>true</Quiet><Object><Key>&#x41;&amp;</Key><VersionId>v</VersionId></Object></Delete>x",
		"<a><Object><Key><![CDATA[x]]>y<!--z--></Key></Object></a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a><Object><Key>&b;</Key></Object></a>",
		"<?xml encoding='0'?><Key></Key >", "<a/>", "", "x", "<a><b><Object><Key>k</Key></Object></b></a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, _, err := ParseDeletes(strings.NewReader(string(doc)), false)
		var whole struct {
			Objects []Object `xml:"Object"`
		}
		d := xml.NewDecoder(bytes.NewReader(doc))
		d.CharsetReader = asciiReader // another encoding may be named
		failed := d.Decode(&whole)
		if errors.Is(err, ErrMalformed) || errors.Is(err, ErrTooMany) || errors.Is(err, ErrKeyTooLong) {
			return
		}
		if (err == nil) != (failed == nil) {
			t.Fatalf("%q: %v, want %v", doc, err, failed)
		}
		if err != nil {
			return
		}
		var want []Object
		for _, o := range whole.Objects {
			if !slices.Contains(want, o) {
				want = append(want, o)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", doc, got, want)
		}
	})
}

// However the text comes, the same is read.
func TestR24ListInPieces(t *testing.T) {
	t.Parallel()
	var doc strings.Builder
	for i := range 100 {
		fmt.Fprintf(&doc, "<Object><Key>k%d</Key></Object>", i)
	}
	got, _, err := ParseDeletes(iotest.OneByteReader(strings.NewReader("<Delete>"+doc.String()+"</Delete>")), false)
	if err != nil || len(got) != 100 || got[99].Key != "k99" {
		t.Fatal(len(got), err)
	}
}
