package s3

// Write is a set of kinds of write. S3 and the backends ignore a subresource parameter that does
// not exist for the kind: PUT key?versions stores an object, and DELETE key?acl deletes one. Each
// must be recognized as what it is (R35).
type Write uint8

// The kinds of write that subresources can have.
const (
	PutKey Write = 1 << iota
	PostKey
	DeleteKey
	PutBucket // or POST
	DeleteBucket
)

// WriteOf returns the kind of a write with this method, to a key or a bucket.
func WriteOf(method string, key bool) Write {
	switch {
	case method == "DELETE" && key:
		return DeleteKey
	case method == "DELETE":
		return DeleteBucket
	case !key:
		return PutBucket
	case method == "POST":
		return PostKey
	}
	return PutKey
}

// Subresource describes a property of an object or a bucket other than its content.
type Subresource struct {
	Writes   Write // the kinds of write that address it
	Document bool  // GET and PUT transfer it as one document, the same on each backend
}

// Deletable reports whether DELETE removes it.
func (s Subresource) Deletable() bool { return s.Writes&(DeleteKey|DeleteBucket) != 0 }

// Subresources are the query parameters that make a request address a subresource (S3 API
// reference, "canonicalized resource" of V2).
var Subresources = map[string]Subresource{
	"acl":        {PutKey | PutBucket, true},
	"tagging":    {PutKey | DeleteKey | PutBucket | DeleteBucket, true},
	"retention":  {PutKey, true},
	"legal-hold": {PutKey, true},

	"accelerate":        {PutBucket, true},
	"cors":              {PutBucket | DeleteBucket, true},
	"encryption":        {PutBucket | DeleteBucket, true},
	"lifecycle":         {PutBucket | DeleteBucket, true},
	"logging":           {PutBucket, true},
	"notification":      {PutBucket, true},
	"object-lock":       {PutBucket, true},
	"ownershipControls": {PutBucket | DeleteBucket, true},
	"policy":            {PutBucket | DeleteBucket, true},
	"publicAccessBlock": {PutBucket | DeleteBucket, true},
	"requestPayment":    {PutBucket, true},
	"versioning":        {PutBucket, true},
	"website":           {PutBucket | DeleteBucket, true},

	// These consist of several documents, or are specific to one backend.
	"abac":                   {PutBucket, false},
	"analytics":              {PutBucket | DeleteBucket, false},
	"intelligent-tiering":    {PutBucket | DeleteBucket, false},
	"inventory":              {PutBucket | DeleteBucket, false},
	"metadataConfiguration":  {PutBucket | DeleteBucket, false},
	"metadataInventoryTable": {PutBucket, false},
	"metadataJournalTable":   {PutBucket, false},
	"metadataTable":          {PutBucket | DeleteBucket, false},
	"metrics":                {PutBucket | DeleteBucket, false},
	"replication":            {PutBucket | DeleteBucket, false},
	"restore":                {PostKey, false},
	"select":                 {PostKey, false},

	"attributes": {}, "location": {}, "policyStatus": {}, "torrent": {}, "versions": {},
}

// IsSubWrite reports whether a write with this method addresses a subresource.
func (t *Target) IsSubWrite(method string) bool { return t.subs&WriteOf(method, len(t.Key) > 0) != 0 }
