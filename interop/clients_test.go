package interop

import "testing"

// topologies are what stands behind the proxy.
var topologies = []struct {
	name  string
	kinds [2]string
}{
	{"two versitygw", [2]string{versitygw, versitygw}},
	{"two MinIO", [2]string{minio, minio}},
	{"versitygw and MinIO", [2]string{versitygw, minio}},
}

// TestMatrix is every client against every topology.
func TestMatrix(t *testing.T) {
	for _, topology := range topologies {
		t.Run(topology.name, func(t *testing.T) {
			w := newWorld(t, topology.kinds)
			for _, cli := range awsCLIs(t) {
				t.Run(cli.name, func(t *testing.T) { cli.steps(t, w) })
			}
			t.Run("s3cmd", func(t *testing.T) { s3cmdSteps(t, w) })
			t.Run("rclone", func(t *testing.T) { rcloneSteps(t, w) })
			t.Run("curl", func(t *testing.T) { curlSteps(t, w) })
			t.Run("minio-go", func(t *testing.T) { minioSteps(t, w) })
			t.Run("aws-sdk-go-v2", func(t *testing.T) { sdkSteps(t, w) })
			t.Run("aws-sdk-go-v2 in parts", func(t *testing.T) { uploadSteps(t, w) })
			t.Run("odd keys", func(t *testing.T) { keySteps(t, w) })
			if w.all(minio) {
				t.Run("versions", func(t *testing.T) { versionSteps(t, w) })
			}
		})
	}
}
