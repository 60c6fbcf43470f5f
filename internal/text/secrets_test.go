package text

import (
	"strings"
	"testing"
)

func TestR37HideSecrets(t *testing.T) {
	for target, want := range map[string]string{
		"":                          "",
		"/b/k":                      "/b/k",
		"/b/k?acl&versionId=v1":     "/b/k?acl&versionId=v1",
		"/b/k?X-Amz-Signature=hush": "/b/k?X-Amz-Signature=***",
		"/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20240305%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20240305T140709Z&X-Amz-Expires=60&X-Amz-Security-Token=hush%2Bhush%3D&X-Amz-SignedHeaders=host&X-Amz-Signature=hush&partNumber=2": "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20240305%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20240305T140709Z&X-Amz-Expires=60&X-Amz-Security-Token=***&X-Amz-SignedHeaders=host&X-Amz-Signature=***&partNumber=2",
		"/b/k?AWSAccessKeyId=AKID&Expires=1&Signature=hush%3D&x-amz-security-token=hush": "/b/k?AWSAccessKeyId=AKID&Expires=1&Signature=***&x-amz-security-token=***",
		"/b/k?x-amz-SIGNATURE=hush":                          "/b/k?x-amz-SIGNATURE=***",
		"/b/k?X%2DAmz%2dSignature=hush":                      "/b/k?X%2DAmz%2dSignature=***",
		"/b/k?%53%69gnature=hush":                            "/b/k?%53%69gnature=***",
		"/b/k?Signature%3Dhush":                              "/b/k?Signature%3D***",
		"/b/k?Signature=hush&Signature=hush2&Signature=hush": "/b/k?Signature=***&Signature=***&Signature=***",
		"/b/k?acl;Signature=hush":                            "/b/k?acl;Signature=***",
		"/b/k?a=1?Signature=hush":                            "/b/k?a=1?Signature=***",
		"/b/k?a#Signature=hush":                              "/b/k?a#Signature=***",
		"/b/k?Signature=hush;hush?hush#hush&acl":             "/b/k?Signature=***&acl",
		"/b/k?Signature=hush=hush":                           "/b/k?Signature=***",
		"/b/k?&&Signature=hush&&":                            "/b/k?&&Signature=***&&",
		"?Signature=hush":                                    "?Signature=***",
		"/b/k?Signature":                                     "/b/k?Signature",
		"/b/k?Signature=":                                    "/b/k?Signature=",
		"/b/k?Signature=***":                                 "/b/k?Signature=***",
		"/b/k?Signature=%":                                   "/b/k?Signature=***",
		"/b/k?Signatur%e=1":                                  "/b/k?Signatur%e=1",
		"/b/k?MySignature=1&Signature2=1&continuation-token=t&marker=m":                                       "/b/k?MySignature=1&Signature2=1&continuation-token=t&marker=m",
		"/b/Signature=name&X-Amz-Signature=name":                                                              "/b/Signature=name&X-Amz-Signature=name", // an object's name
		"/b/k?x-amz-server-side-encryption-customer-key=hush&x-amz-server-side-encryption-customer-key-MD5=m": "/b/k?x-amz-server-side-encryption-customer-key=***&x-amz-server-side-encryption-customer-key-MD5=m",
		"/b/k?x-amz-copy-source-server-side-encryption-customer-key=hush":                                     "/b/k?x-amz-copy-source-server-side-encryption-customer-key=***",
		"http://s3/b/k?Signature=hush":                                                                        "http://s3/b/k?Signature=***",
		"http://user:hush@s3/b/k?Signature=hush&a":                                                            "http://***@s3/b/k?Signature=***&a",
		"http://s3/b/k@x?a=http://u:p@h":                                                                      "http://s3/b/k@x?a=http://u:p@h",
		"/b/http://u:p@h":                                                                                     "/b/http://u:p@h",
	} {
		if got := HideSecrets(target); got != want {
			t.Errorf("%q: got %q, want %q", target, got, want)
		}
		raw := []byte(target)
		if got := HideSecrets(raw); string(got) != want || string(raw) != target {
			t.Errorf("%q: got %q and left %q", target, got, raw)
		}
		if again := HideSecrets(want); again != want {
			t.Errorf("%q becomes %q", want, again)
		}
	}
	for _, name := range secretParams {
		if len(name) > longestSecretParam || name != strings.ToLower(name) {
			t.Errorf("%q is never found", name)
		}
	}
	plain := []byte("/bucket/key/of/some/length?partNumber=1&uploadId=xyz")
	if n := testing.AllocsPerRun(100, func() { HideSecrets(plain) }); n != 0 {
		t.Errorf("%v allocations where there is nothing to hide", n)
	}
}
