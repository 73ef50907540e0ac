package handler

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAPIVersions is the highest version of ApiVersions that is served.
const maxAPIVersions = 4

// apiVersionsAPI serves ApiVersions (key 18, versions 0 to 4; rule 1.4). It answers from the table that it is a row of,
// which rows returns.
func apiVersionsAPI(d *Deps, rows func() []API) API {
	return api(0, maxAPIVersions, nil, func(c *Context, req *kmsg.ApiVersionsRequest) *kmsg.ApiVersionsResponse {
		return d.apiVersions(c, req, rows())
	})
}

func (d *Deps) apiVersions(c *Context, req *kmsg.ApiVersionsRequest, rows []API) *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	software := Software{"unknown", "unknown"}
	if c.Version >= 3 {
		software = Software{req.ClientSoftwareName, req.ClientSoftwareVersion}
		if !isSoftware(software.Name) || !isSoftware(software.Version) {
			resp.ErrorCode = kerr.InvalidRequest.Code // rule 1.4.3
			return resp
		}
	}
	c.Software = software
	for _, row := range rows {
		resp.ApiKeys = append(resp.ApiKeys, versionsOf(row))
	}
	slices.SortFunc(resp.ApiKeys, func(a, b kmsg.ApiVersionsResponseApiKey) int { return cmp.Compare(a.ApiKey, b.ApiKey) })
	if c.Version >= 3 {
		d.addFeatures(c.Version, resp)
	}
	return resp
}

// advertisedMin are minimum versions that are advertised although the versions are closed as unsupported: old clients
// conclude from them what else a broker can do (rule 1.4.9).
var advertisedMin = map[int16]int16{int16(kmsg.Produce): 0, int16(kmsg.JoinGroup): 0}

func versionsOf(row API) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = row.Key, row.Min, row.Max
	if least, ok := advertisedMin[row.Key]; ok {
		k.MinVersion = least
	}
	return k
}

// addFeatures adds what this broker supports and what the cluster has finalized (rules 1.4.5 to 1.4.7).
func (d *Deps) addFeatures(version int16, resp *kmsg.ApiVersionsResponse) {
	for _, f := range d.Features {
		if f.Min == 0 && version < 4 {
			continue // Java clients of that age cannot read the range
		}
		s := kmsg.NewApiVersionsResponseSupportedFeature()
		s.Name, s.MinVersion, s.MaxVersion = f.Name, f.Min, f.Max
		resp.SupportedFeatures = append(resp.SupportedFeatures, s)
	}
	image := d.Metadata.Load()
	resp.FinalizedFeaturesEpoch = int64(image.Index)
	for _, name := range slices.Sorted(maps.Keys(image.Features())) {
		f := kmsg.NewApiVersionsResponseFinalizedFeature()
		level := image.Features()[name]
		f.Name, f.MinVersionLevel, f.MaxVersionLevel = name, level, level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, f)
	}
}

// isSoftware reports whether name may be the name or version of a client's software (rule 1.4.3): letters, digits, and
// dots and dashes between them.
func isSoftware(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case (c == '.' || c == '-') && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return name != ""
}

// tooNewAPIVersions answers a version of ApiVersions that is not served. Its body is not read: it is answered in version
// 0, which every client can read, with the versions of ApiVersions alone (rule 1.4.2).
func tooNewAPIVersions() *kmsg.ApiVersionsResponse {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.ErrorCode = kerr.UnsupportedVersion.Code
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MaxVersion = int16(kmsg.ApiVersions), maxAPIVersions
	resp.ApiKeys = append(resp.ApiKeys, k)
	return resp
}
