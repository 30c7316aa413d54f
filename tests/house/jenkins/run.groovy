// Runs a step of a shared library with the steps of Jenkins that it calls: run.groovy STEP GIVEN
//
// The shell is a real one. Prints what the build had to hear, as JSON.
import groovy.json.JsonOutput
import groovy.json.JsonSlurper

class Failed extends RuntimeException {
    Failed(String text) { super(text) }
}

def environment = [:]
def heard = [errors: [], unstable: [], archived: [], returned: null]
def step = new GroovyShell().parse(new File(args[0]))
def steps = step.metaClass
steps.error = { String text -> heard.errors << text; throw new Failed(text) }
steps.unstable = { String text -> heard.unstable << text }
steps.archiveArtifacts = { Map said -> heard.archived << said }
steps.string = { Map said -> said }
steps.withCredentials = { List every, Closure inner ->
    every.each { environment[it.variable] = "secret of ${it.credentialsId}".toString() }
    inner()
}
steps.withEnv = { List every, Closure inner ->
    every.each { def (name, text) = it.toString().split('=', 2); environment[name] = text }
    inner()
}
steps.sh = { Map said ->
    assert said.returnStatus
    def shell = new ProcessBuilder('/bin/sh', '-c', said.script.toString()).inheritIO()
    shell.environment().putAll(environment)
    shell.redirectOutput(new File('/dev/null'))
    shell.start().waitFor()
}
try {
    heard.returned = step.call(new JsonSlurper().parseText(args[1]) as Map)
} catch (Failed ignored) {
    // It is in what was heard.
}
println JsonOutput.toJson(heard)
