// Package acl decides whether a principal may do an operation on a resource. Every handler asks an Authorizer from
// the first day on; AllowAll is the one that stands while ACLs are not configured (rule 7.14).
package acl

// Operation is Kafka's AclOperation code.
type Operation int8

// Operation codes as on the wire (rule 7.14.2).
const (
	Read            Operation = 3
	Write           Operation = 4
	Create          Operation = 5
	Delete          Operation = 6
	Alter           Operation = 7
	Describe        Operation = 8
	ClusterAction   Operation = 9
	DescribeConfigs Operation = 10
	AlterConfigs    Operation = 11
	IdempotentWrite Operation = 12
	CreateTokens    Operation = 13
	DescribeTokens  Operation = 14
)

// ResourceType is Kafka's ResourceType code.
type ResourceType int8

// Resource type codes as on the wire.
const (
	Topic           ResourceType = 2
	Group           ResourceType = 3
	Cluster         ResourceType = 4
	TransactionalID ResourceType = 5
	DelegationToken ResourceType = 6
	User            ResourceType = 7
)

// ClusterName is the name of the only resource of type Cluster.
const ClusterName = "kafka-cluster"

// Principal is who a session acts for, such as {"User", "ANONYMOUS"}.
type Principal struct{ Type, Name string }

// Anonymous is the principal of an unauthenticated connection (rule 1.7.18).
var Anonymous = Principal{Type: "User", Name: "ANONYMOUS"}

func (p Principal) String() string { return p.Type + ":" + p.Name }

// Request is one question to an Authorizer.
type Request struct {
	Principal Principal
	Host      string // peer IP address without port
	Operation Operation
	Resource  ResourceType
	Name      string
}

// Authorizer answers whether a request is allowed. It must not block and must not allocate on the allow path.
type Authorizer interface {
	Allowed(r *Request) bool
}

// AllowAll allows everything: a cluster without an authorizer.
type AllowAll struct{}

// Allowed reports true.
func (AllowAll) Allowed(*Request) bool { return true }
