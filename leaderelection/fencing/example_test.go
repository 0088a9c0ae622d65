package fencing_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// Create the admission policy for the resources that an operator writes. An
// administrator applies the policy and its binding once. The command "kubectl lease
// fence" prints both.
func ExamplePolicy() {
	policy, binding, err := fencing.Policy(fencing.Fence{
		LeaseNamespace: "my-namespace",
		LeaseName:      "my-app-leader",
		ServiceAccount: "my-app",
		Resources: []schema.GroupResource{
			{Resource: "configmaps"},
			{Group: "apps", Resource: "deployments"},
		},
		Namespaces: []string{"my-namespace"},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(policy.Name)
	fmt.Println(binding.Spec.ParamRef.Namespace, binding.Spec.ParamRef.Name)
	// Output:
	// incumbent-fencing.my-namespace.my-app-leader
	// my-namespace my-app-leader
}

// Use two clients. The leader's work has a client that stamps each object with the term
// and retries refused writes. The Elector has another client, without these transports.
func ExampleStampTransport() {
	restConfig, err := rest.InClusterConfig()
	if err != nil {
		return // the program does not run in a cluster
	}
	config := &leaderelection.Config{
		Enabled: true, Identity: os.Getenv("POD_NAME"),
		LeaseNamespace: "my-namespace", LeaseName: "my-app-leader", ReleaseOnCancel: true,
	}
	work := rest.CopyConfig(restConfig)
	var writer kubernetes.Interface
	elector, err := leaderelection.New(config, kubernetes.NewForConfigOrDie(config.ClientConfig(restConfig)), leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { reconcile(ctx, writer) }, // ctx carries the term
	}, nil)
	if err != nil {
		panic(err)
	}
	work.Wrap(fencing.StampTransport)
	work.Wrap(func(next http.RoundTripper) http.RoundTripper { return fencing.RetryTransport(elector, next) })
	writer = kubernetes.NewForConfigOrDie(work)
	if err := elector.Run(context.Background()); err != nil {
		panic(err)
	}
}

func reconcile(context.Context, kubernetes.Interface) {}

// Protect a database with transactions. One row stores the token of the last term that
// wrote any data. Each transaction of a leader begins with the SQL statement in the
// constant begin. This statement updates the row only if the stored token is not
// greater than the leader's token. With database/sql:
//
//	token := fmt.Sprintf("%020d", term.Token)
//	result, err := tx.ExecContext(ctx, begin, token, "my-app-leader")
//	if n, _ := result.RowsAffected(); n == 0 {
//		return tx.Rollback() // a later term has written: stop
//	}
//	// insert, update, delete, commit
//
// The column contains the token as text of 20 digits, with leading zeros. Such texts
// compare like numbers in every database. A BIGINT overflows above 2^63, and a token may
// be greater. Without the CHECK, a token without leading zeros would be compared
// wrongly. The type NUMERIC(20) also works, except in SQLite.
//
// This statement locks the row until the transaction ends. Therefore all transactions
// run one after the other, even the transactions of one leader. A leader that is frozen
// within a transaction blocks all others until the database ends that transaction. Set
// the database's limit for idle transactions. Do not check the token in a separate
// transaction, because the leader may be frozen between the check and the write.
func Example_sql() {
	const create = `CREATE TABLE leadership (lease VARCHAR(253) PRIMARY KEY, token CHAR(20) NOT NULL CHECK (LENGTH(token) = 20))`
	const begin = `UPDATE leadership SET token = $1 WHERE lease = $2 AND token <= $1`

	db := newDatabase(create, "my-app-leader") // INSERT INTO leadership VALUES ('my-app-leader', '00000000000000000000')
	frozen, successor := leaderelection.Term{Token: 41}, leaderelection.Term{Token: 1753647547040015001}

	fmt.Println("first leader:", db.exec(begin, frozen.Token, "my-app-leader"), "row")
	fmt.Println("its successor:", db.exec(begin, successor.Token, "my-app-leader"), "row")
	fmt.Println("the first one resumes:", db.exec(begin, frozen.Token, "my-app-leader"), "rows")
	// Output:
	// first leader: 1 row
	// its successor: 1 row
	// the first one resumes: 0 rows
}

// Protect single rows, without transactions. Each row has a column with a token, as in
// the example for transactions. The SQL statement in the constant update changes a row
// only if the token in the row is not greater than the token of the writer's term. Two
// kinds of writes are not protected: insertions, and writes of rows that the current
// leader has not written yet.
func Example_sqlByRow() {
	const createAccounts = `CREATE TABLE accounts (id VARCHAR(40) PRIMARY KEY, balance INT NOT NULL, token CHAR(20) NOT NULL CHECK (LENGTH(token) = 20))`
	const update = `UPDATE accounts SET token = $1, balance = $3 WHERE id = $2 AND token <= $1`

	db := newDatabase(createAccounts, "alice", "bob")
	frozen, successor := leaderelection.Term{Token: 41}, leaderelection.Term{Token: 1753647547040015001}

	fmt.Println("its successor:", db.exec(update, successor.Token, "alice", 80), "row")
	fmt.Println("the first one resumes:", db.exec(update, frozen.Token, "alice", 70), "rows")
	fmt.Println("it writes another row:", db.exec(update, frozen.Token, "bob", 70), "row")
	// Output:
	// its successor: 1 row
	// the first one resumes: 0 rows
	// it writes another row: 1 row
}

// A database stands in for an SQL database. It maps the key of each row to the token
// that the row contains. The tests in hack/tokens run the statements of these examples
// on a real database.
type database map[string]string

// newDatabase stands in for the creation of a table with one row for each key.
func newDatabase(_ string, keys ...string) database {
	d := database{}
	for _, key := range keys {
		d[key] = "00000000000000000000"
	}
	return d
}

// exec stands in for the SQL statements of the examples. It stores token in the row
// with the given key, unless the token of the row is greater. It returns the number of
// changed rows.
func (d database) exec(_ string, token leaderelection.Token, key string, _ ...int) int {
	text := fmt.Sprintf("%020d", token)
	if kept, found := d[key]; !found || kept > text {
		return 0
	}
	d[key] = text
	return 1
}

// Protect objects in an object store. The store cannot compare numbers, but it can
// write on the condition that an object has not changed (If-Match or
// ifGenerationMatch). The leader stores its token with the object. Before each write,
// the leader reads the object. If the stored token is greater than the leader's own
// token, the leader stops. Otherwise it writes on the condition that the object is
// unchanged. If the store refuses the write, the leader reads the object again. Metadata
// of objects are texts: encode and decode the token with MarshalText and UnmarshalText.
func Example_objectStore() {
	bucket := &bucket{}
	frozen, successor := leaderelection.Term{Token: 41}, leaderelection.Term{Token: 57}

	fmt.Println("first leader:", store(bucket, frozen, "state 1"))
	object := bucket.get() // the first leader reads the object, and is then frozen
	fmt.Println("its successor:", store(bucket, successor, "state 2"))
	fmt.Println("the first one resumes and writes:", bucket.put(object.etag, frozen.Token, "state 3"))
	fmt.Println("it tries again:", store(bucket, frozen, "state 3"))
	fmt.Println("stored:", bucket.get().content)
	// Output:
	// first leader: stored
	// its successor: stored
	// the first one resumes and writes: 412 Precondition Failed
	// it tries again: stale: term 57 has written it
	// stored: state 2
}

// store writes content to the object in the bucket. It repeats the read and the write
// until the write succeeds, or until the stored object has a greater token than the
// term.
func store(b *bucket, term leaderelection.Term, content string) string {
	for {
		object := b.get()
		if object.token > term.Token {
			return "stale: term " + object.token.String() + " has written it"
		}
		if status := b.put(object.etag, term.Token, content); status == "200 OK" {
			return "stored"
		}
	}
}

// A bucket stands in for an object store that contains one object.
type bucket struct {
	mu     sync.Mutex
	writes int
	object object
}

type object struct {
	etag    string
	token   leaderelection.Token // stored in the object's metadata
	content string
}

func (b *bucket) get() object {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.object
}

// put replaces the object if the etag of the stored object equals ifMatch.
func (b *bucket) put(ifMatch string, token leaderelection.Token, content string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.object.etag != ifMatch {
		return "412 Precondition Failed"
	}
	b.writes++
	b.object = object{strconv.Itoa(b.writes), token, content}
	return "200 OK"
}
