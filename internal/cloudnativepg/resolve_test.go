package cloudnativepg

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

func named(namespace, name string) recovery.Database {
	return recovery.Database{Namespace: namespace, Name: name}
}

func TestResolve(t *testing.T) {
	immich := named("cloudnative-pg", "immich-database")
	immich.Directory = "infrastructure/database/cnpg/immich"
	immich.Labels = map[string]string{"app": "photos"}
	immich.Store.DestinationPath = "s3://postgres-backups/cnpg/pictures/"
	paperless := named("cloudnative-pg", "paperless-database")
	paperless.Directory = "apps/documents/overlays/production"
	paperless.Labels = map[string]string{"app.kubernetes.io/name": "scans"}
	media := named("databases", "media")
	media.Directory = "apps/tv/base"
	media.Labels = map[string]string{"app": "video"}
	mediaOld := named("databases", "media-old")
	mediaOld.Labels = map[string]string{"app": "video"}
	twin := named("staging", "immich-database")
	all := []recovery.Database{immich, paperless, media, mediaOld}

	tests := map[string]struct {
		databases []recovery.Database
		want      recovery.Database
	}{
		"immich-database":                {all, immich},
		"cloudnative-pg/immich-database": {append(all, twin), immich},
		"staging/immich-database":        {append(all, twin), twin},
		"immich":                         {all, immich},
		"documents":                      {all, paperless},
		"tv":                             {all, media},
		"photos":                         {all, immich},
		"scans":                          {all, paperless},
		"pictures":                       {all, immich},
		"paper":                          {all, paperless},
		"media":                          {all, media}, // exact before prefix
		"media-":                         {all, mediaOld},
		"databases/media-o":              {all, mediaOld},
		"staging/imm":                    {append(all, twin), twin},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Resolve(name, test.databases)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}

	failures := map[string]struct {
		databases []recovery.Database
		want      error
		text      []string
	}{
		"immich-database":     {append(all, twin), recovery.ErrUsage, []string{"cloudnative-pg/immich-database, staging/immich-database", "NAMESPACE/NAME"}},
		"video":               {all, recovery.ErrUsage, []string{"databases/media, databases/media-old"}},
		"med":                 {all, recovery.ErrUsage, []string{"databases/media, databases/media-old"}},
		"imich-databse":       {all, recovery.ErrNotFound, []string{"there are: cloudnative-pg/immich-database, ", "did you mean cloudnative-pg/immich-database?"}},
		"databases/immich":    {all, recovery.ErrNotFound, []string{"cloudnative-pg/immich-database"}},
		"databases/":          {all, recovery.ErrNotFound, []string{"there are: "}},
		"":                    {all, recovery.ErrNotFound, []string{"there are: "}},
		"anything-but-there ": {nil, recovery.ErrNotFound, []string{"no CloudNativePG Cluster at all", "--gitops DIR"}},
	}
	for name, test := range failures {
		t.Run("not "+name, func(t *testing.T) {
			_, err := Resolve(name, test.databases)
			require.ErrorIs(t, err, test.want)
			for _, text := range test.text {
				require.Contains(t, err.Error(), text)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"immich", "imich", 1}, {"same", "same", 0}} {
		require.Equal(t, test.want, distance(test.a, test.b), "%s/%s", test.a, test.b)
	}
}
