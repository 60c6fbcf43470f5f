package engine

import (
	"encoding/xml"
	"math/bits"
)

// maxDeleteBody bounds the body of a multi-object delete: S3 allows 1,000 keys
// of 1,024 bytes, and storages allow 2 MB for them and their XML.
const maxDeleteBody = 2 * 1000 * 1024

// deleteRequest is the body of DeleteObjects (S3 API reference).
type deleteRequest struct {
	Objects []deletedObject `xml:"Object"`
}

// deleteResult is its answer. In quiet mode it names errors alone.
type deleteResult struct {
	XMLName xml.Name      `xml:"DeleteResult"`
	Errors  []deleteError `xml:"Error"`
}

type deletedObject struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

type deleteError struct {
	Key       string
	VersionID string `xml:"VersionId"`
	Code      string
}

// deletion is what a backend did with each key: why it has not deleted it, or
// nothing.
type deletion struct {
	backend int
	status  int
	outcome string
	all     string // why it deleted none; "" if it may have
	failed  map[deletedObject]string
}

func (d *deletion) problem(o deletedObject) string {
	if d.all != "" {
		return d.all
	}
	return d.failed[o]
}

// recordDeletes records each key that one backend deleted and another one did
// not (R24). It tells whether it could read the request.
func (r *request) recordDeletes() bool {
	var asked deleteRequest
	if xml.Unmarshal(r.deletes, &asked) != nil || len(asked.Objects) == 0 {
		return false
	}
	results := make([]deletion, 0, len(r.e.o.Backends))
	for i := range r.legs {
		results = append(results, r.legs[i].deletion())
	}
	for s := r.skipped; s != 0; s &= s - 1 {
		b := bits.TrailingZeros64(s)
		results = append(results, deletion{backend: b, outcome: r.reasons[b], all: r.reasons[b]})
	}
	d := r.divergence(OpStoring)
	d.Size, d.ETag = 0, ""
	for _, object := range asked.Objects {
		from := -1
		for i := range results {
			if from < 0 && results[i].problem(object) == "" {
				from = results[i].backend
			}
		}
		if from < 0 {
			continue
		}
		d.Key, d.SuccessHost = object.Key, r.e.o.Backends[from].Name()
		for i := range results {
			if problem := results[i].problem(object); problem != "" {
				d.FailedHost, d.Status, d.Error = r.e.o.Backends[results[i].backend].Name(), results[i].status, problem
				r.record(&d, results[i].outcome)
			}
		}
	}
	return true
}

// deletion reads a leg's answer to DeleteObjects.
func (l *leg) deletion() deletion {
	d := deletion{backend: l.backend, status: l.answer.status, outcome: l.outcome}
	if l.state != votePositive {
		d.all = l.err.Error()
		return d
	}
	var result deleteResult
	if err := xml.Unmarshal(l.body, &result); err != nil {
		d.all = "unreadable answer to a multi-object delete"
		return d
	}
	for _, e := range result.Errors {
		if e.Code == "NoSuchKey" {
			continue // gone is gone
		}
		if d.failed == nil {
			d.failed = make(map[deletedObject]string)
		}
		d.failed[deletedObject{e.Key, e.VersionID}] = "not deleted: " + e.Code
	}
	return d
}
