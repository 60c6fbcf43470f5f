package s3

// Write is a set of writes: S3 and the backends ignore a query parameter that names a
// subresource elsewhere. PUT key?versions stores an object, DELETE key?acl deletes one, and
// each has to be known for what it is (R35).
type Write uint8

// The writes that there are to subresources.
const (
	PutKey Write = 1 << iota
	PostKey
	DeleteKey
	PutBucket // or POST
	DeleteBucket
)

// WriteOf is what a write with this method, to a key or a bucket, is one of.
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

// Subresource is something else about an object or a bucket than its content.
type Subresource struct {
	Writes   Write // those that are to it
	Document bool  // GET and PUT have it as a whole, alike on each backend
}

// Deletable reports whether DELETE takes it away.
func (s Subresource) Deletable() bool { return s.Writes&(DeleteKey|DeleteBucket) != 0 }

// Subresources are the query parameters that make a request be about one (S3 API
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

	// These are many documents each, or one storage's own affair.
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

// IsSubWrite reports whether a write with this method is one to a subresource.
func (t *Target) IsSubWrite(method string) bool { return t.subs&WriteOf(method, len(t.Key) > 0) != 0 }
