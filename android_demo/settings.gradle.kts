// For Android Studio. It builds the sources that pom.xml builds without the Android SDK. This build has not been tried: the
// machine on which it was written had neither the SDK nor the Android Gradle plugin.
pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositoriesMode = RepositoriesMode.FAIL_ON_PROJECT_REPOS
    repositories {
        google()
        mavenCentral()
    }
}

rootProject.name = "tfcompress-demo"
include(":runtime", ":core", ":app")
