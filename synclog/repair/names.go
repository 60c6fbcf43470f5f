package repair

import "github.com/akubra/akubra/synclog/repair/client"

// noSuchName reports whether a backend can have no object of such a name at all: what it says
// to a look is then that there is none, and what it says to a copy it says each time.
func noSuchName(err error) bool {
	return client.HasCode(err, "KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName", "XMinioInvalidResourceName")
}

// refusesObject reports whether a target refuses the object itself, whatever is repeated
// (versitygw keeps no content under a name that ends in "/"). One that is in the way of
// another one (ObjectParentIsFile) may be gone tomorrow.
func refusesObject(err error) bool {
	return noSuchName(err) || client.HasCode(err, "DirectoryObjectContainsData")
}
