package s3

// writes is a set of kinds of write. S3 and the backends ignore a subresource parameter that does
// not exist for the kind: PUT key?versions stores an object, and DELETE key?acl deletes one. Each
// must be recognized as what it is (R35).
type writes uint8

// The kinds of write that subresources can have.
const (
	putKey writes = 1 << iota
	postKey
	deleteKey
	putBucket // or POST
	deleteBucket
)

// writeOf returns the kind of a write with this method, to a key or a bucket.
func writeOf(method string, key bool) writes {
	switch {
	case method == "DELETE" && key:
		return deleteKey
	case method == "DELETE":
		return deleteBucket
	case !key:
		return putBucket
	case method == "POST":
		return postKey
	}
	return putKey
}

// Subresource describes a property of an object or a bucket other than its content.
type Subresource struct {
	writes   writes // the kinds of write that address it
	Document bool   // GET and PUT transfer it as one document, the same on each backend
}

// Deletable reports whether DELETE removes it.
func (s Subresource) Deletable() bool { return s.writes&(deleteKey|deleteBucket) != 0 }

// Subresources are the query parameters that make a request address a subresource (S3 API
// reference, "canonicalized resource" of V2).
var Subresources = map[string]Subresource{
	"acl":        {putKey | putBucket, true},
	"tagging":    {putKey | deleteKey | putBucket | deleteBucket, true},
	"retention":  {putKey, true},
	"legal-hold": {putKey, true},

	"accelerate":        {putBucket, true},
	"cors":              {putBucket | deleteBucket, true},
	"encryption":        {putBucket | deleteBucket, true},
	"lifecycle":         {putBucket | deleteBucket, true},
	"logging":           {putBucket, true},
	"notification":      {putBucket, true},
	"object-lock":       {putBucket, true},
	"ownershipControls": {putBucket | deleteBucket, true},
	"policy":            {putBucket | deleteBucket, true},
	"publicAccessBlock": {putBucket | deleteBucket, true},
	"requestPayment":    {putBucket, true},
	"versioning":        {putBucket, true},
	"website":           {putBucket | deleteBucket, true},

	// These consist of several documents, or are specific to one backend.
	"abac":                   {putBucket, false},
	"analytics":              {putBucket | deleteBucket, false},
	"intelligent-tiering":    {putBucket | deleteBucket, false},
	"inventory":              {putBucket | deleteBucket, false},
	"metadataConfiguration":  {putBucket | deleteBucket, false},
	"metadataInventoryTable": {putBucket, false},
	"metadataJournalTable":   {putBucket, false},
	"metadataTable":          {putBucket | deleteBucket, false},
	"metrics":                {putBucket | deleteBucket, false},
	"replication":            {putBucket | deleteBucket, false},
	"restore":                {postKey, false},
	"select":                 {postKey, false},

	"attributes": {}, "location": {}, "policyStatus": {}, "torrent": {}, "versions": {},
}

// IsSubWrite reports whether a write with this method addresses a subresource.
func (t *Target) IsSubWrite(method string) bool { return t.subs&writeOf(method, len(t.Key) > 0) != 0 }
