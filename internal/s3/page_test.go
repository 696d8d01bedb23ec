package s3

import (
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/drctl/drctl/internal/recovery"
)

// ofMinIO is the answer of a real MinIO, ofAWS has the fields that AWS documents.
const (
	ofMinIO = xml.Header + `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><Prefix>cnpg/</Prefix><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><Delimiter>/</Delimiter><IsTruncated>true</IsTruncated><NextContinuationToken>Y25wZy8wMC94W21pbmlv</NextContinuationToken><Contents><Key>cnpg/00/x</Key><LastModified>2026-11-23T08:03:44.149Z</LastModified><ETag>&#34;781e5e245d69b566979b86e28d23f2c7&#34;</ETag><Size>10</Size><Owner><ID></ID><DisplayName></DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents><CommonPrefixes><Prefix>cnpg/01/</Prefix></CommonPrefixes></ListBucketResult>`
	ofAWS   = `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Name>bucket</Name><Prefix/><StartAfter>a</StartAfter><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>
  <Contents>
    <Key>a &amp; b &lt;c&gt;</Key><LastModified>2026-11-23T08:03:44.000Z</LastModified><ETag>&quot;x&quot;</ETag>
    <ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>0</Size>
    <StorageClass>STANDARD</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>
  </Contents>
</ListBucketResult>
`
)

func TestParsePage(t *testing.T) {
	page, ok := parsePage([]byte(ofMinIO))
	require.True(t, ok)
	require.Equal(t, recovery.ObjectPage{
		Objects: []recovery.Object{{Key: "cnpg/00/x", SizeBytes: 10, ModifiedAt: time.Date(2026, 11, 23, 8, 3, 44, 149e6, time.UTC)}},
		Folders: []string{"cnpg/01/"}, NextToken: "Y25wZy8wMC94W21pbmlv",
	}, page)
	page, ok = parsePage([]byte(ofAWS))
	require.True(t, ok)
	require.Equal(t, recovery.ObjectPage{Objects: []recovery.Object{{Key: "a & b <c>", ModifiedAt: time.Date(2026, 11, 23, 8, 3, 44, 0, time.UTC)}}}, page)
}

// TestParsePageLeavesTheUnusualToTheSDK: it must never guess.
func TestParsePageLeavesTheUnusualToTheSDK(t *testing.T) {
	for cut := range len(ofMinIO) {
		_, ok := parsePage([]byte(ofMinIO[:cut]))
		require.False(t, ok, "cut at %d", cut)
	}
	for name, body := range map[string]string{
		"comment":              strings.Replace(ofMinIO, "<Name>", "<!-- x --><Name>", 1),
		"CDATA":                strings.Replace(ofMinIO, "cnpg/00/x", "<![CDATA[cnpg]]>", 1),
		"numbered character":   strings.Replace(ofMinIO, "cnpg/00/x", "cnpg&#47;x", 1),
		"unknown entity":       strings.Replace(ofMinIO, "cnpg/00/x", "cnpg&nbsp;x", 1),
		"not ASCII":            strings.Replace(ofMinIO, "cnpg/00/x", "cnpg/é", 1),
		"no size":              strings.Replace(ofMinIO, "<Size>10</Size>", "", 1),
		"no time":              strings.Replace(ofMinIO, "2026-11-23T08:03:44.149Z", "", 1),
		"no token":             strings.Replace(ofMinIO, "Y25wZy8wMC94W21pbmlv", "", 1),
		"another root":         strings.ReplaceAll(ofMinIO, "ListBucketResult", "ListAllMyBucketsResult"),
		"something behind it":  ofMinIO + "<x/>",
		"elements that differ": strings.Replace(ofMinIO, "</Owner>", "</Other>", 1),
		"namespace prefix":     strings.ReplaceAll(strings.ReplaceAll(ofMinIO, "<Key>", "<s3:Key>"), "</Key>", "</s3:Key>"),
	} {
		_, ok := parsePage([]byte(body))
		require.False(t, ok, name)
	}
}

func TestListFallsBackToTheSDK(t *testing.T) {
	unusual := strings.Replace(strings.Replace(ofMinIO, "<Name>", "<!-- x --><Name>", 1), "cnpg/00/x", "cnpg/é", 1)
	client := clientFor(t, server(t, answer(unusual)))
	page, err := client.List(t.Context(), recovery.ObjectQuery{Bucket: "bucket"})
	require.NoError(t, err)
	require.Equal(t, "cnpg/é", page.Objects[0].Key)
	require.Equal(t, []string{"cnpg/01/"}, page.Folders)
	require.Equal(t, "Y25wZy8wMC94W21pbmlv", page.NextToken)
}

// FuzzParsePage holds the quick parser against encoding/xml: what it accepts, both read alike.
func FuzzParsePage(f *testing.F) {
	f.Add([]byte(ofMinIO))
	f.Add([]byte(ofAWS))
	f.Fuzz(func(t *testing.T, body []byte) {
		page, ok := parsePage(body)
		if !ok {
			return
		}
		var want struct {
			XMLName     xml.Name `xml:"ListBucketResult"`
			IsTruncated string
			Token       string `xml:"NextContinuationToken"`
			Contents    []struct {
				Key, LastModified string
				Size              int64
			}
			CommonPrefixes []struct{ Prefix string }
		}
		if err := xml.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted what encoding/xml refuses: %v\n%q", err, body)
		}
		require.Len(t, page.Objects, len(want.Contents))
		for i, object := range want.Contents {
			require.Equal(t, object.Key, page.Objects[i].Key)
			require.Equal(t, object.Size, page.Objects[i].SizeBytes)
			at, err := time.Parse(time.RFC3339Nano, object.LastModified)
			require.NoError(t, err)
			require.True(t, at.Equal(page.Objects[i].ModifiedAt))
		}
		require.Len(t, page.Folders, len(want.CommonPrefixes))
		for i, folder := range want.CommonPrefixes {
			require.Equal(t, folder.Prefix, page.Folders[i])
		}
		if want.IsTruncated == "true" {
			require.Equal(t, want.Token, page.NextToken)
		} else {
			require.Empty(t, page.NextToken)
		}
	})
}
