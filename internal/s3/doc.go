// Package s3 reads from S3 and from what speaks its language (MinIO, Ceph): pages of listings and
// small objects, which it also writes. Failures come back as recovery.Problem, with what to do about them.
//
// It imports recovery, the AWS SDK and the standard library; no other package of drctl.
package s3
