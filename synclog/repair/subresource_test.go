package repair

import (
	"net/http"
	"testing"

	"github.com/akubra/akubra/synclog/repair/client"
)

// R35: that a bucket cannot have locks is said in several ways, and no failure of the key.
func TestR35NoLocksInAnyWords(t *testing.T) {
	for _, answer := range []client.Error{
		{Code: "InvalidRequest", Message: "Bucket is missing Object Lock Configuration"}, // AWS, to a GET
		{Code: "InvalidRequest", Message: "Bucket is missing ObjectLockConfiguration"},
		{Code: "NoSuchObjectLockConfiguration"},
		{Code: "ObjectLockConfigurationNotFoundError", Message: "no"},
	} {
		answer.Status = http.StatusBadRequest
		if !noLock(&answer) {
			t.Errorf("%v is not understood", &answer)
		}
	}
	if noLock(&client.Error{Status: http.StatusBadRequest, Code: "InvalidRequest", Message: "no"}) {
		t.Error("any refusal is taken for it")
	}
}
