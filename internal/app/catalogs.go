package app

import (
	"context"
	"errors"
	"strings"

	"github.com/drctl/drctl/internal/barman"
	"github.com/drctl/drctl/internal/recovery"
	"github.com/drctl/drctl/internal/s3"
)

// catalogs reads Barman destinations with the credentials that each one names.
type catalogs struct{ app *App }

func (c catalogs) Catalog(ctx context.Context, namespace string, store recovery.ObjectStore, servers []string) (recovery.Catalog, recovery.Gaps, error) {
	bucket, prefix, err := destination(store.DestinationPath)
	if err != nil {
		return recovery.Catalog{}, nil, err
	}
	client, err := c.app.s3Client(ctx, namespace, store)
	if err != nil {
		return recovery.Catalog{}, nil, err
	}
	return barman.ReadCatalog(ctx, client, barman.Options{Bucket: bucket, Prefix: prefix, Servers: servers})
}

// destination splits s3://BUCKET/PATH.
func destination(path string) (bucket, prefix string, err error) {
	if scheme, _, found := strings.Cut(path, "://"); found && scheme != "s3" {
		return "", "", &recovery.Problem{
			What: "read " + path, Why: "drctl reads Barman backups from S3 only, not from " + scheme,
			Next: "give an s3:// destination with --destination-path", Err: recovery.ErrUnsupported,
		}
	}
	return s3.ParseURL(path)
}

// Store is the destination of the flags, the environment or the configuration.
func (a *App) Store() (recovery.ObjectStore, error) {
	places, err := a.places()
	if err != nil {
		return recovery.ObjectStore{}, err
	}
	return recovery.ObjectStore{DestinationPath: places.DestinationPath, EndpointURL: places.EndpointURL}, nil
}

// s3Client reads and writes with the keys of the operator's shell, and where there are none, with the store's own.
func (a *App) s3Client(ctx context.Context, namespace string, store recovery.ObjectStore) (*s3.Client, error) {
	return a.s3ClientWith(ctx, namespace, store, !a.hasOwnKeys())
}

// hasOwnKeys reports whether the operator's shell has S3 keys.
func (a *App) hasOwnKeys() bool { return a.getenv("AWS_ACCESS_KEY_ID") != "" }

// s3ClientWith makes a client, with the keys of the Secrets that the store names where storeKeys is set.
func (a *App) s3ClientWith(ctx context.Context, namespace string, store recovery.ObjectStore, storeKeys bool) (*s3.Client, error) {
	places, err := a.places()
	if err != nil {
		return nil, err
	}
	config := s3.Config{EndpointURL: firstOf(places.EndpointURL, store.EndpointURL), InstanceRole: store.InheritFromIAMRole}
	if config.CABundle, err = readCA(places.CAFile); err != nil {
		return nil, err
	}
	if storeKeys && store.AccessKeyID.Name != "" {
		if err := a.fillKeys(ctx, namespace, store, &config); err != nil {
			return nil, err
		}
	}
	if config.CABundle == nil && store.EndpointCA.Name != "" {
		value, err := a.secretKey(ctx, namespace, store.EndpointCA)
		if err != nil {
			return nil, missing("the endpoint's CA bundle", "give --ca-file FILE", err)
		}
		config.CABundle = []byte(value)
	}
	client, err := s3.New(ctx, config)
	if err != nil {
		return nil, err
	}
	a.account.add("S3 "+firstOf(config.EndpointURL, "of AWS")+" for "+store.DestinationPath, client.Requests)
	return client, nil
}

// fillKeys takes the keys from the Secrets that the store names.
func (a *App) fillKeys(ctx context.Context, namespace string, store recovery.ObjectStore, config *s3.Config) error {
	const next = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
	for _, part := range []struct {
		key  recovery.SecretKey
		into *string
	}{
		{store.AccessKeyID, &config.AccessKeyID}, {store.SecretAccessKey, &config.SecretAccessKey},
		{store.SessionToken, &config.SessionToken}, {store.Region, &config.Region},
	} {
		if part.key.Name == "" {
			continue
		}
		value, err := a.secretKey(ctx, namespace, part.key)
		if err != nil {
			return missing("the S3 keys of "+store.DestinationPath, next, err)
		}
		*part.into = value
	}
	return nil
}

func (a *App) secretKey(ctx context.Context, namespace string, key recovery.SecretKey) (string, error) {
	values, err := a.secret(ctx, namespace, key.Name)
	if err != nil {
		return "", err
	}
	value, found := values[key.Key]
	if !found {
		return "", &recovery.Problem{What: "Secret " + namespace + "/" + key.Name + " has no key " + key.Key, Err: recovery.ErrNotFound}
	}
	return string(value), nil
}

// missing says which variable to set instead; a problem that knows better keeps its own advice.
func missing(what, next string, err error) error {
	var p *recovery.Problem
	if errors.As(err, &p) && p.Next != "" && errors.Is(err, recovery.ErrUnsupported) {
		next = p.Next
	}
	return &recovery.Problem{What: "find " + what, Why: reason(err), Next: next, Err: err}
}
