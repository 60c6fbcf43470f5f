package service

import (
	"context"
	"time"

	"github.com/akubra/akubra/internal/config"
	"github.com/akubra/akubra/internal/online"
	"github.com/akubra/akubra/synclog/repair/client"
)

// onlineTimeout is how long a backend may take for one response while somebody waits at a terminal.
const onlineTimeout = 10 * time.Second

// CheckOnline examines the backends of a configuration (R21). Conditional writes are tried in
// bucket; "" means any suitable one. With readOnly nothing is written.
func CheckOnline(ctx context.Context, c *config.Config, environ []string, bucket string, readOnly bool) ([]online.Report, error) {
	o := online.Options{Bucket: bucket, ReadOnly: readOnly}
	var err error
	if o.Backends, o.Unsigned, err = onlineBackends(c, environ); err != nil {
		return nil, err
	}
	return online.Check(ctx, o)
}

// onlineBackends are the backends of a configuration, with the reason why one has no keys, or ""
// if it has.
func onlineBackends(c *config.Config, environ []string) (all []client.Options, unsigned []string, err error) {
	names := c.BackendNames()
	for i, u := range c.BackendURLs() {
		tlsConfig, err := c.ClientTLS(i)
		if err != nil {
			return nil, nil, err
		}
		b := client.Options{
			Name: names[i], URL: u.String(), TLS: tlsConfig, Region: c.Credentials.Region,
			DialTimeout: c.ConnectionDialTimeout, Timeout: min(c.ConnectionTimeout, onlineTimeout),
		}
		why := ""
		if keys, err := c.SigningKeysOf(i, environ); err != nil {
			why = err.Error()
		} else {
			b.AccessKey, b.SecretKey, b.SessionToken, b.Region = keys.AccessKey, string(keys.SecretKey), string(keys.SessionToken), keys.Region
		}
		all, unsigned = append(all, b), append(unsigned, why)
	}
	return all, unsigned, nil
}
