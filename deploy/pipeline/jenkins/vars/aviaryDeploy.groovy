// A release in a job of Jenkins: a step of a shared library, on an agent that has `aviary`.
//
//   aviaryDeploy server: 'https://webhook.example', credentials: 'aviary-token',
//                release: "shop-${env.BUILD_NUMBER}", services: ['checkout=1.4.2'],
//                labels: [repository: 'acme/shop', commit: env.GIT_COMMIT]
//
// It hands back the exit code of `aviary deploy`; `until: 'person'` makes the build unstable where
// the release waits for a person. What is given comes to the shell as environment.
def call(Map given) {
    ['server', 'credentials', 'release', 'services'].each { name ->
        if (!given[name]) {
            error("aviaryDeploy: ${name} is missing")
        }
    }
    def services = given.services.collect { it.toString() }
    def wrong = services.find { !(it ==~ /[A-Za-z0-9._+:@\/-]+=[A-Za-z0-9._+:@\/-]+/) }
    if (wrong) {
        error("aviaryDeploy: services: expected SERVICE=VERSION, got ${wrong}")
    }
    def labels = (given.labels ?: [:]).collect { name, text -> "${name}=${text}".toString() }
    wrong = labels.find { !(it ==~ /[A-Za-z0-9._-]+=[A-Za-z0-9._+:@\/-]+/) }
    if (wrong) {
        error("aviaryDeploy: labels: expected letters, digits and . _ + : @ / -, got ${wrong}")
    }
    int code = -1
    withCredentials([string(credentialsId: given.credentials, variable: 'AVIARY_TOKEN')]) {
        withEnv([
            "AVIARY_SERVER=${given.server}",
            "RELEASE_ID=${given.release}",
            "UNTIL=${given.until ?: 'end'}",
            "TIMEOUT=${given.timeout ?: '1h'}",
        ]) {
            def asked = (services.collect { "--service ${it}" } + labels.collect { "--label ${it}" }).join(' ')
            code = sh(returnStatus: true, script: 'aviary deploy --release "$RELEASE_ID" ' +
                asked + ' --until "$UNTIL" --timeout "$TIMEOUT" --summary aviary.md')
        }
    }
    archiveArtifacts(artifacts: 'aviary.md', allowEmptyArchive: true)
    if (code == 5) {
        unstable('the release waits for a person')
    } else if (code != 0) {
        error("aviary deploy ended with ${code}")
    }
    return code
}
