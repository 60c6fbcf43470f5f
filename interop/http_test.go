package interop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// directTransport asks no HTTP proxy of the environment, and finds domain's hosts.
var directTransport http.RoundTripper = newTransport(nil)

func newTransport(trusted *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: patience}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err == nil && strings.HasSuffix(host, domain) {
				addr = net.JoinHostPort("127.0.0.1", port)
			}
			return dialer.DialContext(ctx, network, addr)
		},
		TLSClientConfig:       &tls.Config{RootCAs: trusted},
		ExpectContinueTimeout: 10 * time.Second, // wait for the 100, as curl and aws-cli do
		ResponseHeaderTimeout: 2 * time.Minute,
		DisableCompression:    true,
	}
}

// newSDK is a client of aws-sdk-go-v2, with its defaults but for retries: what
// fails once shall be seen.
func newSDK(url string, transport http.RoundTripper, options ...func(*s3.Options)) *s3.Client {
	if transport == nil {
		transport = directTransport
	}
	o := s3.Options{
		BaseEndpoint: &url,
		Region:       region,
		UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, nil
		}),
		HTTPClient: &http.Client{Transport: transport},
		Retryer:    aws.NopRetryer{},
		// As config.LoadDefaultConfig has them.
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}
	return s3.New(o, options...)
}

// certificate makes one for 127.0.0.1, in a file with its key, and a transport
// that trusts it.
func certificate(t *testing.T, dir string) (file string, trust http.RoundTripper) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{domain, "*." + domain},
		IsCA:        true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: private}} {
		if err := pem.Encode(&out, block); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(dir, "proxy.pem")
	mustWrite(t, file, out.Bytes())
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return file, newTransport(pool)
}
