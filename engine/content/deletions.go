package content

import (
	"encoding/xml"

	"github.com/akubra/akubra/s3"
)

// Deletions says why objects were not deleted, according to a positive answer to a multi-object
// delete. An object that it does not name was.
type Deletions struct {
	Unreadable bool // nothing is known
	Failed     map[Object]string
	Locked     map[Object]bool // of them, versions that may be locked
}

// ReadDeletions reads the answer's body. In quiet mode it names only errors.
func ReadDeletions(body []byte) (d Deletions) {
	var result struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Errors  []struct {
			Object
			Code    string
			Message string
		} `xml:"Error"`
	}
	if err := xml.Unmarshal(body, &result); err != nil {
		return Deletions{Unreadable: true}
	}
	for _, e := range result.Errors {
		if e.Code == "NoSuchKey" {
			continue // gone is gone
		}
		if d.Failed == nil {
			d.Failed = make(map[Object]string)
		}
		d.Failed[e.Object] = "not deleted: " + e.Code
		if s3.IsLock(e.Code, []byte(e.Message)) {
			if d.Locked == nil {
				d.Locked = make(map[Object]bool)
			}
			d.Locked[e.Object] = true
		}
	}
	return d
}

// Problem is why the object was not deleted; "" if it was.
func (d *Deletions) Problem(o Object) string {
	if d.Unreadable {
		return "unreadable answer to a multi-object delete"
	}
	problem := d.Failed[o]
	if problem == "" && o.VersionID == "null" { // some name the version, some do not
		problem = d.Failed[Object{Key: o.Key}]
	}
	return problem
}
