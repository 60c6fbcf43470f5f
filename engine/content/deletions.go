package content

import (
	"encoding/xml"
	"iter"
	"maps"

	"github.com/akubra/akubra/s3"
)

// Deletions says why objects were not deleted, according to a positive answer to a multi-object
// delete. An object that it does not name was, if it names errors alone and knows whose they are. Of one that
// it leaves out while it names others that were deleted nothing is known.
type Deletions struct {
	Unreadable bool // nothing is known
	Failed     map[Object]string
	Locked     map[Object]bool // of them, versions that may be locked
	Omitted    map[Object]bool // nothing is known of these
	unclear    string          // why something that is not in the list was not deleted
}

// ReadDeletions reads the body of the answer to a list of these objects. In quiet mode it names
// only errors.
func ReadDeletions(body []byte, asked iter.Seq[Object]) (d Deletions) {
	var result struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Deleted []Object
		Errors  []struct {
			Object
			Code    string
			Message string
		} `xml:"Error"`
	}
	if err := xml.Unmarshal(body, &result); err != nil {
		return Deletions{Unreadable: true}
	}
	if len(result.Errors) == 0 && len(result.Deleted) == 0 {
		return d
	}
	d.Failed = make(map[Object]string)
	list := make(map[Object]bool)
	for o := range asked {
		list[o] = true
	}
	// Some backends name a key in another way, as without a slash at its begin: where there are enough names
	// none is left out.
	if n := len(result.Deleted); n > 0 && n+len(result.Errors) < len(list) {
		d.Omitted = maps.Clone(list)
		for _, o := range result.Deleted {
			o, _ = find(list, o)
			delete(d.Omitted, o)
		}
	}
	for _, e := range result.Errors {
		o, ok := find(list, e.Object)
		delete(d.Omitted, o)
		if e.Code == "NoSuchKey" {
			continue // gone is gone
		}
		problem := "not deleted: " + e.Code
		if !ok {
			d.unclear = problem
			continue
		}
		d.Failed[o] = problem
		if s3.IsLock(e.Code, []byte(e.Message)) {
			if d.Locked == nil {
				d.Locked = make(map[Object]bool)
			}
			d.Locked[o] = true
		}
	}
	return d
}

// find returns the object in the list that an answer names. Some name the version, some do not.
func find(list map[Object]bool, named Object) (Object, bool) {
	if list[named] {
		return named, true
	}
	if named.VersionID == "" {
		named.VersionID = "null"
	} else {
		named.VersionID = ""
	}
	return named, list[named]
}

// Complete reports whether everything was deleted.
func (d *Deletions) Complete() bool {
	return !d.Unreadable && !d.Unclear() && len(d.Failed) == 0 && len(d.Omitted) == 0
}

// Unknown reports whether the answer does not say what has become of the object.
func (d *Deletions) Unknown(o Object) bool {
	return d.Unreadable || d.Omitted[o] || o.VersionID == "null" && d.Omitted[Object{Key: o.Key}]
}

// Unclear reports whether something was not deleted that is not in the list.
func (d *Deletions) Unclear() bool { return d.unclear != "" }

// Problem is why the object was not deleted, or may not have been; "" if it was.
func (d *Deletions) Problem(o Object) string {
	if d.Unreadable {
		return "unreadable answer to a multi-object delete"
	}
	problem := d.Failed[o]
	if problem == "" && o.VersionID == "null" {
		problem = d.Failed[Object{Key: o.Key}]
	}
	if problem == "" {
		problem = d.unclear
	}
	if problem == "" && d.Unknown(o) {
		problem = "left out of the answer to a multi-object delete"
	}
	return problem
}
