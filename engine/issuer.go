package engine

import (
	"math/bits"

	"github.com/akubra/akubra/s3"
)

// The id of an upload, or of a version, is one backend's own: its issuer's (R26, R28). Where the issuer is not
// known every backend is asked. The others refuse, for they do not know the id: what they say counts only
// if all say so.

// issuer is the backend that issued the id in the request.
func (r *request) issuer() (backend int, known bool) {
	switch {
	case r.head.isUploadsOwn():
		return r.e.uploads.Get(r.head.uploadID())
	case r.head.target.Version:
		return r.versionOwner()
	}
	return r.sourceIssuer()
}

// sourceIssuer is the backend that issued the id of the version that a copy names.
func (r *request) sourceIssuer() (backend int, known bool) {
	source := &r.head.source
	if source.VersionID == "" {
		return nobody, false
	}
	for _, n := range source.Names {
		if backend, known = r.e.versions.Get(n.Bucket + "/" + source.VersionID); known {
			return backend, true
		}
	}
	return nobody, false
}

// namesID reports whether only the issuer of an id can do what the request asks for.
func (h *requestHead) namesID() bool {
	return h.isUploadsOwn() || h.target.Version || h.is(s3.KindCopy) && h.source.VersionID != ""
}

// knowsNot reports whether the leg's answer may say no more than that its backend does not know the id in
// the request.
func (l *leg) knowsNot() bool {
	r := l.r
	if l.state != voteNegative || !r.head.namesID() {
		return false
	}
	if issuer, known := r.issuer(); known && issuer == l.backend {
		return false
	}
	if r.head.isUploadsOwn() {
		return s3.IsUnknownUpload(l.answer.Status, s3.ErrorCode(l.body))
	}
	return s3.IsUnknownVersion(l.answer.Status, s3.ErrorCode(l.body))
}

// overruled is what the client is told in place of the picked answer, if that says of something that it does not
// exist which another backend may have, or has an error that the client would not look for; else nil.
func (r *request) overruled(picked *leg) *s3Error {
	switch {
	case picked.state != voteNegative:
		return nil
	case r.issuerMayBeOut(picked):
		return errNoPool
	case r.sourceIsOwed(picked):
		return errSourceOwed
	case r.sourceIsElsewhere(picked):
		return errSourceElsewhere
	}
	return r.hiddenError(picked)
}

// hiddenError is the error in a picked answer of 2xx to a request that S3 never answers so, or nil: clients
// would take the write for done (R25).
func (r *request) hiddenError(picked *leg) *s3Error {
	if picked.answer.Status >= 300 || r.head.isLate() {
		return nil
	}
	code := s3.ErrorCode(picked.body)
	if code == "" {
		return nil
	}
	_, message := s3.ParseError(picked.body)
	status := 500
	if code == "SlowDown" || code == "ServiceUnavailable" {
		status = 503
	}
	return &s3Error{status, code, message, ""}
}

// issuerMayBeOut reports whether the picked answer says that an id is unknown although its issuer may be a
// backend that was not asked, or did not answer. That is no reason to make the client give up an upload
// (R26), or what it has there as a version.
func (r *request) issuerMayBeOut(picked *leg) bool {
	if !picked.knowsNot() {
		return false
	}
	_, known := r.issuer()
	return !known && (r.asked()|r.race.old() != r.e.all || r.hasSilentLeg())
}

// sourceIsElsewhere reports whether the picked answer says that the version is unknown which a part is
// copied from, although another backend than the upload's may have issued its id (R30).
func (r *request) sourceIsElsewhere(picked *leg) bool {
	if !r.head.isPartCopy() || r.head.source.VersionID == "" || len(r.e.o.Backends) == 1 || r.race.isNowhere() {
		return false
	}
	status, code := picked.answer.Status, s3.ErrorCode(picked.body)
	if !s3.IsUnknownVersion(status, code) || code == s3.NoSuchUpload {
		return false
	}
	issuer, known := r.sourceIssuer()
	return !known || issuer != picked.backend
}

// fromIssuer takes the backends out of want that did not issue the id of the version that is copied. A
// copy is owed there; a part is for its upload's owner alone, which cannot copy another one's version.
func (r *request) fromIssuer(want uint64) (uint64, *s3Error) {
	if r.head.isPartCopy() {
		r.findSourceVersion()
	}
	issuer, known := r.sourceIssuer()
	switch {
	case !known:
		return want, nil
	case want&(1<<issuer) == 0:
		return 0, errSourceElsewhere
	case r.head.isPartCopy():
		return want, nil // where the owner is not known, each is asked
	}
	r.race.leaveOut(want &^ (1 << issuer))
	return 1 << issuer, nil
}

// findSourceVersion asks which backend has the version that a part is copied from, if that is not known. The
// upload's owner alone gets the request, and would not know of the others.
func (r *request) findSourceVersion() {
	find, source := r.e.o.FindVersion, &r.head.source
	if _, known := r.sourceIssuer(); known || find == nil || len(r.e.o.Backends) == 1 {
		return
	}
	for _, n := range source.Names {
		have, may := find(n.Bucket, n.Key, source.VersionID)
		if may&^have == 0 && bits.OnesCount64(have) == 1 {
			r.e.versions.Put(n.Bucket+"/"+source.VersionID, bits.TrailingZeros64(have))
		}
		if have|may != 0 {
			return
		}
	}
	r.race.foundNowhere()
}
