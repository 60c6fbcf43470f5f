package engine

// A backend that owes the removal of a bucket has the old one under that name, also where the bucket
// was made again meanwhile. Nothing is read there, and nothing that is done in the bucket goes there,
// before repair has removed the old one: else its objects would be shown as the new one's, and what is
// written would land among them (R17, R30). What is left out there is owed.

// ReasonRemoval is why such a backend is skipped.
const ReasonRemoval = "owes the bucket's removal"

// removing are the backends that have the bucket as it was before its removal, or may.
func (e *Engine) removing(bucket []byte) uint64 {
	if e.o.Removing == nil {
		return 0
	}
	set, _ := e.o.Removing(bucket)
	return set & e.all
}

// besideRemoval takes the backends out of want that have the bucket as it was before its removal. A
// write waits briefly for those whose legs are just removing it. Where nobody is left of those that a
// request is for, since it names an upload or a version of the old bucket, the others say that they do
// not know it.
func (r *request) besideRemoval(want uint64) (uint64, *s3Error) {
	e := r.e
	if e.o.Removing == nil {
		return want, nil
	}
	set, underWay := e.o.Removing(r.head.bucket())
	for p := e.brieflyPatient(); underWay != 0 && r.head.write && p.wait(e); {
		set, underWay = e.o.Removing(r.head.bucket())
	}
	if set &= e.all; set == 0 {
		return want, nil
	}
	r.race.leaveOld(set, want)
	if left := want &^ set; left != 0 || want == 0 {
		return left, nil
	}
	if want = e.all &^ set; want == 0 {
		return 0, errBehind
	}
	return want, nil
}
