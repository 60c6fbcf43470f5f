package ledger

// What the tests look at beside the public names.
var (
	EntryOf = entryOf
)
