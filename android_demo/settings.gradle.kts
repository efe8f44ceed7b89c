// For Android Studio: the same sources as pom.xml builds without the Android SDK. Not tried where this was written, which has
// neither the SDK nor the Android Gradle plugin.
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
